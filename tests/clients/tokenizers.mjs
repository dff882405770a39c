// Hugging Face's tokenizers, asked line by line, as llama.mjs is.
//
// Question: {"file": path of tokenizer.json, "texts": [text...]}
// Answer: {"ids": [[id...]...]} with special tokens, or {"error": text}
import {createInterface} from "node:readline";
import tokenizers from "tokenizers";

async function answer({file, texts}) {
    const tokenizer = tokenizers.Tokenizer.fromFile(file);
    const ids = [];

    for (const text of texts) {
        ids.push((await tokenizer.encode(text, null,
            {addSpecialTokens: true})).getIds());
    }
    return {ids};
}

for await (const line of createInterface({input: process.stdin})) {
    let out;

    try {
        out = await answer(JSON.parse(line));
    } catch (error) {
        out = {error: String(error.stack ?? error)};
    }
    process.stdout.write(`ANSWER ${JSON.stringify(out)}\n`);
}
process.exit(0);
