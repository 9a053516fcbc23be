// Explanations of a task's states and errors for the owner of its agent.
import type { TaskError, TaskState, TaskStatus } from "./types.ts";

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

/** The progress of an unfinished task. */
export function progressText({ status, attempt }: Pick<TaskState, "status" | "attempt">): string {
  if (status === "STARTED") return "The agent is running. The answer appears here.";
  return attempt > 0 ? "The last attempt did not succeed. The task is waiting for the next one." : "The task is waiting in the queue.";
}

export interface ErrorWords {
  title: string;
  meaning: string;
  /** What the owner can do. */
  remedy: string;
}

const ERRORS: Record<string, ErrorWords> = {
  timeout: {
    title: "Time limit exceeded",
    meaning: "All attempts and the pauses between them took longer than the agent's time limit, or the task waited one day for a free run of its agent.",
    remedy: "Raise the agent's time limit, ask for less in its prompt, or choose a faster model. If tasks wait a long time, raise the agent's limit of concurrent runs.",
  },
  model_error: {
    title: "The model failed",
    meaning: "The model provider could not be reached, refused the request, or returned an unexpected response.",
    remedy: "Check the model's address, name and key in the agent's definition, and whether the provider is available. Rate limit errors are transient. A wrong key or name is a permanent error.",
  },
  tool_error: {
    title: "A tool failed",
    meaning: "A tool that the agent needs failed, and the agent could not continue without it.",
    remedy: "The tool calls below show the arguments and the results. Check the tool's address and credentials in the agent's definition, and whether its server is available.",
  },
  invalid_agent: {
    title: "The agent's definition cannot be run",
    meaning: "Its prompt, model or tools cannot be used, or the agent was deleted before the task started.",
    remedy: "Fix what the message names. Addresses in private networks must be allowed in the deployment first.",
  },
  empty_answer: {
    title: "No answer",
    meaning: "The run ended without any text. An agent without a model has no answer if none of its passages match the payload.",
    remedy: "Without a model: add one, or add documents and texts that match the payload. With a model: say in the prompt what the answer must contain, and check that the output token limit is high enough. Reasoning tokens count too.",
  },
  budget_exceeded: {
    title: "Limit exceeded",
    meaning: "The run needed more turns or tokens than the agent's limits allow, and was stopped.",
    remedy: "Raise the limit that the message names, or simplify the task. Fewer tools and a shorter prompt need fewer turns.",
  },
  cancelled: {
    title: "Cancelled",
    meaning: "The task was cancelled before it ended.",
    remedy: "Trigger it again with another key if it is still needed.",
  },
  worker_lost: {
    title: "Every attempt lost its worker",
    meaning: "Each attempt ended without a result, for example because the worker was killed or ran out of memory.",
    remedy: "Trigger it again with another key. If it happens again, search the log for the task id. Very large payloads and documents need more memory.",
  },
  internal: {
    title: "Internal error",
    meaning: "An error occurred in this service, not in the agent.",
    remedy: "Trigger it again with another key. If it happens again, search the log for the task id and report it.",
  },
} satisfies Record<TaskError["type"], ErrorWords>;

/** The explanation of an error type, or a generic one for an unknown type. */
export function errorWords(type: string): ErrorWords {
  const unknown = { title: type, meaning: "The console does not know this error type.", remedy: "See the message for details." };
  return Object.hasOwn(ERRORS, type) ? (ERRORS[type] ?? unknown) : unknown;
}

/** The part of the agent's page in which the owner can fix the error, if there is one. */
export function remedyPart(type: string): "definition" | "sources" | undefined {
  if (type === "empty_answer") return "sources";
  return ["timeout", "model_error", "tool_error", "invalid_agent", "budget_exceeded"].includes(type) ? "definition" : undefined;
}

/** For tests. */
export const ERROR_TYPES = Object.keys(ERRORS);
