// Hugging Face's tokenizers, asked line by line, as llama.mjs is.
//
// Question: {"file": path of tokenizer.json, "texts": [text...]}
// Answer: {"ids": [[id...]...]} with special tokens, or {"error": text}
import tokenizers from "tokenizers";
import {answerAll} from "./answers.mjs";

async function answer({file, texts}) {
    const tokenizer = tokenizers.Tokenizer.fromFile(file);
    const ids = [];

    for (const text of texts) {
        ids.push((await tokenizer.encode(text, null,
            {addSpecialTokens: true})).getIds());
    }
    return {ids};
}

await answerAll(answer);
