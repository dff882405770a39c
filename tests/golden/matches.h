/* A golden folder against what the reference classes of transformers and PEFT
 * made of it in double precision. */
#ifndef QL_TESTS_MATCHES_H
#define QL_TESTS_MATCHES_H

/* Fails unless logits and loss of the base, and for each LoRA file logits,
 * gradients, three AdamW steps and what is saved are those that lie there. */
void matches_reference(const char *dir);

#endif
