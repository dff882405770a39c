// Hugging Face's tokenizers, asked by a file of JSON:
//   node tokenizers.mjs QUESTIONS ANSWERS
//
// QUESTIONS: {"file": path of tokenizer.json, "texts": [text...]}
// ANSWERS: [[id...]...], with special tokens
import {readFileSync, writeFileSync} from "node:fs";
import tokenizers from "tokenizers";

const ask = JSON.parse(readFileSync(process.argv[2], "utf8"));
const tokenizer = tokenizers.Tokenizer.fromFile(ask.file);
const answer = [];

for (const text of ask.texts) {
    answer.push((await tokenizer.encode(text, null,
        {addSpecialTokens: true})).getIds());
}
writeFileSync(process.argv[3], JSON.stringify(answer));
process.exit(0);
