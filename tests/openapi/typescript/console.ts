// What the document says is answered must be what the console takes it for
// (web/src/types.ts, which are written by hand because they say less).

import type { components } from "./schema.d.ts";
import type * as console from "./types.ts";

type Answered = components["schemas"];

/** The same where the document leaves open which JSON it is. */
type Known<T> = unknown extends T ? console.Json : T extends object ? { [Name in keyof T]: Known<T[Name]> } : T;

/** Fails to compile where an answer is not what is taken. */
type Takes<Taken, Answer extends Taken> = Answer;

/** What a definition may leave out is whole in one that is answered; the document
 * has one schema for both ways. */
type Optional = "prompt" | "model" | "tools" | "output_schema" | "limits";

export type Agreed = [
  Takes<Omit<console.Agent, Optional>, Omit<Answered["Agent"], Optional>>,
  Takes<console.Document[], Answered["DocumentList"]["sources"]>,
  Takes<console.Secret[], Answered["SecretList"]["secrets"]>,
  Takes<console.TaskPage, Known<Answered["TaskList"]>>,
  Takes<Omit<console.TaskState, "result">, Omit<Known<Answered["TaskStatus"]>, "result">>,
  Takes<console.Answer, Known<Answered["Answer"]>>,
  Takes<Omit<console.Task, "result">, Omit<Known<Answered["TaskDetail"]>, "result">>,
  Takes<console.Stats, Answered["Stats"]>,
];
