// TensorBoard's event files, asked line by line, as llama.mjs is: records and
// their sums by tfrecord, events by protobufjs after TensorFlow's event.proto
// and summary.proto.
//
// Question: {"file": path}
// Answer: {"events": [{wallTime, step, fileVersion | summary | sessionLog}...]}
//   or {"error": text}
import protobuf from "protobufjs";
import reading from "tfrecord/lib/record_reader.js";
import {answerAll} from "./answers.mjs";

const {root} = protobuf.parse(`
    syntax = "proto3";
    package tensorflow;
    message Summary {
        message Value {
            string tag = 1;
            float simple_value = 2;
        }
        repeated Value value = 1;
    }
    message SessionLog {
        enum SessionStatus {
            STATUS_UNSPECIFIED = 0;
            START = 1;
            STOP = 2;
            CHECKPOINT = 3;
        }
        SessionStatus status = 1;
        string checkpoint_path = 2;
        string msg = 3;
    }
    message Event {
        double wall_time = 1;
        int64 step = 2;
        oneof what {
            string file_version = 3;
            bytes graph_def = 4;
            Summary summary = 5;
            SessionLog session_log = 7;
        }
    }
`);
const Event = root.lookupType("tensorflow.Event");

async function answer({file}) {
    const reader = await reading.RecordReader.create(file);
    const events = [];

    for (let data; (data = await reader.readRecord()) !== null;) {
        events.push(Event.toObject(Event.decode(data), {
            longs: Number, enums: String, defaults: false
        }));
    }
    await reader.close();
    return {events};
}

await answerAll(answer);
