/* A conversation as samples: the text as the chat template writes it, in which
 * the turns that are trained are found by their place. */
#ifndef QL_DATA_TURNS_H
#define QL_DATA_TURNS_H

#include "src/data/draft.h"
#include "src/text/style.h"

/* Appends the samples of a conversation, which ql_style_fit has been at. There
 * is one with all the turns that are written in the whole conversation as they
 * are when they are the last; each other one ends with a turn that is not. A
 * conversation without a turn to train gives an empty sample.
 *
 * Errors: those of ql_chat_render; QL_EUNSUPPORTED for a call of a tool that
 * the template does not show; QL_EFORMAT for a conversation that would take
 * too much to split; QL_ENOMEM. */
ql_status ql_turns_push(ql_sample_draft *out, const ql_style *s,
                        const ql_tokenizer *tok, const ql_talk *t,
                        ql_train_on train_on);

#endif
