// llama.cpp, asked by a file of JSON: node llama.mjs QUESTIONS ANSWERS
//
// QUESTIONS: {"model": path, "adapter": path or null, "tokenize": [text...],
//   "texts": [text...], "continue": n, "logits": [[id...]...]}
// ANSWERS: {"bos", "eos", "ids": [[id...]...], "texts": [text...] the greedy
//   continuations, "logits": [[[x...]...]...] after each id of each list,
//   "template"}
import {readFileSync, writeFileSync} from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const ask = JSON.parse(readFileSync(process.argv[2], "utf8"));
const llama = await getLlama({
    gpu: false, build: "never", skipDownload: true, maxThreads: 1,
    logLevel: LlamaLogLevel.error
});
const model = await llama.loadModel({modelPath: ask.model});
const context = await model.createContext({
    contextSize: 512, threads: 1,
    ...(ask.adapter ? {lora: {adapters: [{filePath: ask.adapter}]}} : {})
});
const sequence = context.getSequence();

async function goOn(text) {
    const prompt = [model.tokens.bos, ...model.tokenize(text, true)];
    const out = [];

    await sequence.clearHistory();
    for await (const id of sequence.evaluate(prompt, {temperature: 0})) {
        out.push(id);
        if (out.length >= ask.continue) {
            break;
        }
    }
    return model.detokenize(out, true, prompt);
}

async function logitsOf(ids) {
    const options = {generateNext: {logits: true}};

    await sequence.clearHistory();
    const out = await sequence.controlledEvaluate(
        ids.map((id) => [id, options])
    );
    return out.map(({next}) => {
        const row = new Array(next.logits.size);

        for (const [id, x] of next.logits) {
            row[id] = x;
        }
        return row;
    });
}

const answer = {
    bos: model.tokens.bos,
    eos: model.tokens.eos,
    template: model.fileInfo.metadata?.tokenizer?.chat_template ?? null,
    ids: (ask.tokenize ?? []).map((text) => model.tokenize(text, true)),
    texts: [],
    logits: []
};
for (const text of ask.texts ?? []) {
    answer.texts.push(await goOn(text));
}
for (const ids of ask.logits ?? []) {
    answer.logits.push(await logitsOf(ids));
}
writeFileSync(process.argv[3], JSON.stringify(answer));
await llama.dispose();
process.exit(0);
