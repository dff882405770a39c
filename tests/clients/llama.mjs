// llama.cpp, asked line by line: a question in JSON on standard input is
// answered by a line "ANSWER " and JSON on standard output.
//
// Question: {"model": path, "adapter": path or null, "tokenize": [text...],
//   "texts": [text...], "continue": n, "logits": [[id...]...]}
// Answer: {"bos", "eos", "ids": [[id...]...] of what is to be tokenized, and of
//   the texts, which begin with bos, "prompts": [[id...]...] and "written":
//   [[id...]...], the greedy continuations; "logits": [[[x...]...]...] after
//   each id of each list, "template"}, or {"error": text}
import {getLlama, LlamaLogLevel} from "node-llama-cpp";
import {answerAll} from "./answers.mjs";

const llama = await getLlama({
    gpu: false, build: "never", skipDownload: true, maxThreads: 1,
    logLevel: LlamaLogLevel.error,
    logger: (level, text) => process.stderr.write(text)
});

async function goOn(sequence, prompt, most) {
    const out = [];

    await sequence.clearHistory();
    for await (const id of sequence.evaluate(prompt, {temperature: 0})) {
        out.push(id);
        if (out.length >= most) {
            break;
        }
    }
    return out;
}

async function logitsOf(sequence, ids) {
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

async function answer(ask) {
    const model = await llama.loadModel({modelPath: ask.model});
    const context = await model.createContext({
        contextSize: 512, threads: 1,
        ...(ask.adapter ? {lora: {adapters: [{filePath: ask.adapter}]}} : {})
    });
    const sequence = context.getSequence();
    const out = {
        bos: model.tokens.bos,
        eos: model.tokens.eos,
        template: model.fileInfo.metadata?.tokenizer?.chat_template ?? null,
        ids: (ask.tokenize ?? []).map((text) => model.tokenize(text, true)),
        prompts: [],
        written: [],
        logits: []
    };

    for (const text of ask.texts ?? []) {
        const prompt = [model.tokens.bos, ...model.tokenize(text, true)];

        out.prompts.push(prompt);
        out.written.push(await goOn(sequence, prompt, ask.continue));
    }
    for (const ids of ask.logits ?? []) {
        out.logits.push(await logitsOf(sequence, ids));
    }
    await context.dispose();
    await model.dispose();
    return out;
}

await answerAll(answer);
