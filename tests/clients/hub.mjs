// Hugging Face's own client of its hub, asked line by line, as llama.mjs is:
// how the hub sees the weights of a folder that is put there.
//
// Question: {"folder": path, "path": of a file in it, or null for a model's}
// Answer: {"headers": {file: {tensor: {dtype, shape, data_offsets}}},
//   "parameters": number of weights, as the hub counts them}, or {"error": text}
import {readFile} from "node:fs/promises";
import {parseSafetensorsMetadata} from "@huggingface/hub";
import {answerAll} from "./answers.mjs";

const hubUrl = "http://hub.invalid";

// Serves the files of a folder, as the hub does.
function serve(folder) {
    return async (url, {headers}) => {
        const name = new URL(url).pathname.split(/\/(?:resolve|raw)\/main\//)[1];
        let data;

        try {
            data = await readFile(`${folder}/${decodeURIComponent(name)}`);
        } catch {
            return new Response(null, {
                status: 404, headers: {"X-Error-Code": "EntryNotFound"}
            });
        }
        const range = /bytes=(\d+)-(\d*)/.exec(
            new Headers(headers).get("Range") ?? "bytes=0-"
        );
        const from = Number(range[1]);
        const to = Math.min(range[2] ? Number(range[2]) : Infinity,
            data.length - 1);

        return new Response(data.subarray(from, to + 1), {
            status: 206, headers: {
                "Content-Range": `bytes ${from}-${to}/${data.length}`,
                "Content-Length": String(to + 1 - from), "ETag": name
            }
        });
    };
}

async function answer({folder, path}) {
    const found = await parseSafetensorsMetadata({
        repo: "a/model", hubUrl, fetch: serve(folder),
        computeParametersCount: true, ...(path ? {path} : {})
    });
    const headers = found.sharded ? found.headers
        : {[path ?? "model.safetensors"]: found.header};

    return {
        headers,
        parameters: Object.values(found.parameterCount)
            .reduce((sum, n) => sum + n, 0)
    };
}

await answerAll(answer);
