// The way the clients are asked: each line of standard input is a question, in
// JSON, and has one line for its answer, behind a word that nothing else that
// may be written begins with. What is thrown is answered as {"error": text}.
import {createInterface} from "node:readline";

export async function answerAll(answer) {
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
}
