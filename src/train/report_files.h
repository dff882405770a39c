/* The texts in src/train/report/, embedded by embed.py when this is built. */
#ifndef QL_TRAIN_REPORT_FILES_H
#define QL_TRAIN_REPORT_FILES_H

extern const char ql_page_html[], ql_page_css[], ql_page_js[];
extern const char ql_card_md[];

#endif
