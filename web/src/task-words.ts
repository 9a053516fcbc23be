// What the states and errors of a task mean, in words for its agent's owner.
import type { TaskState, TaskStatus } from "./types.ts";

export const STATUSES: readonly TaskStatus[] = ["PENDING", "STARTED", "SUCCESS", "FAILURE"];

export const STATUS_NAMES: Record<TaskStatus, string> = {
  PENDING: "Waiting", STARTED: "Running", SUCCESS: "Succeeded", FAILURE: "Failed",
};

export const STATUS_SENTENCES: Record<TaskStatus, string> = {
  PENDING: "The task is waiting", STARTED: "The task is running", SUCCESS: "The task succeeded", FAILURE: "The task failed",
};

export function hasEnded(status: TaskStatus): boolean {
  return status === "SUCCESS" || status === "FAILURE";
}

/** What goes on with a task that has not ended. */
export function underWay({ status, attempt }: Pick<TaskState, "status" | "attempt">): string {
  if (status === "STARTED") return "The agent is at work. The answer appears here.";
  return attempt > 0 ? "The last attempt did not succeed; the task waits for the next one." : "The task waits for its turn.";
}

export interface ErrorWords {
  title: string;
  meaning: string;
  /** What its owner can do about it. */
  remedy: string;
}

const ERRORS: Record<string, ErrorWords> = {
  timeout: {
    title: "It took too long",
    meaning: "All attempts together, with the pauses between them, were longer than the agent's time limit, or the task waited a day for a free run of its agent.",
    remedy: "Raise the limit “timeout” of the agent, ask for less in its prompt, or choose a faster model. If tasks wait long for their turn, raise its limit of runs at a time.",
  },
  model_error: {
    title: "The model failed",
    meaning: "The model's server could not be reached, refused the request, or answered something that cannot be used.",
    remedy: "Check the model's address, name and key in the agent's definition, and whether its server is up. A refusal for too many requests passes; wrong keys and names do not.",
  },
  tool_error: {
    title: "A tool failed",
    meaning: "A tool that the agent needs failed in a way the agent could not work around.",
    remedy: "The tool calls below show what was asked and what came back. Check the tool's address and credentials in the agent's definition, and that its server is up.",
  },
  invalid_agent: {
    title: "The agent cannot run as it is defined",
    meaning: "Its prompt, model or tools are not usable, or it was deleted before the task's turn came.",
    remedy: "Correct what the message names. Addresses in private networks have to be allowed by the deployment first.",
  },
  empty_answer: {
    title: "There was no answer",
    meaning: "The run came to its end without any text. An agent without a model answers nothing if no passage of its sources speaks to the payload.",
    remedy: "Without a model, give the agent one, or add documents and texts that speak to the payload. With one, say in the prompt what the answer has to contain, and see that the limit of output tokens leaves room for it: reasoning counts too.",
  },
  budget_exceeded: {
    title: "A limit was used up",
    meaning: "The run needed more turns or tokens than the agent's limits allow, and was stopped.",
    remedy: "Raise the limit that the message names, or narrow the task: fewer tools and a shorter prompt need fewer turns.",
  },
  cancelled: {
    title: "It was stopped",
    meaning: "Somebody stopped this task before it ended.",
    remedy: "Trigger it again, with another key, if it is still wanted.",
  },
  worker_lost: {
    title: "Its runner died every time",
    meaning: "Each attempt ended without a word, for example because its process was killed or ran out of memory.",
    remedy: "Trigger it again, with another key. If it happens again, look into the log for the task's id; very large payloads and documents need more memory.",
  },
  internal: {
    title: "A fault of this service",
    meaning: "Something went wrong here that is not the agent's doing.",
    remedy: "Trigger it again, with another key. If it happens again, look into the log for the task's id and report it.",
  },
};

/** What an error type means; of one that is not known, that much. */
export function errorWords(type: string): ErrorWords {
  const unknown = { title: type, meaning: "This kind of error is newer than this page.", remedy: "The message says what is known." };
  return Object.hasOwn(ERRORS, type) ? (ERRORS[type] ?? unknown) : unknown;
}

/** The part of the agent's pages in which an error may be remedied, if it is in one. */
export function remedyPart(type: string): "definition" | "sources" | undefined {
  if (type === "empty_answer") return "sources";
  return ["timeout", "model_error", "tool_error", "invalid_agent", "budget_exceeded"].includes(type) ? "definition" : undefined;
}

/** The error types that are known, for tests. */
export const ERROR_TYPES = Object.keys(ERRORS);
