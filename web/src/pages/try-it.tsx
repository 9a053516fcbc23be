import type { Agent } from "../types.ts";

/** Triggers an agent and follows the task to its end. */
export function TryIt(_: { agent: Agent }) {
  return null;
}
