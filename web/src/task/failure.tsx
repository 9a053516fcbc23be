import type { VNode } from "preact";

import { errorWords, remedyPart } from "../task-words.ts";
import type { TaskError } from "../types.ts";
import { Icon } from "../ui/index.ts";

/** Why a task failed, what the error means, and what to do about it. */
export function Failure({ error, agentId }: { error: TaskError; agentId?: string }): VNode {
  const words = errorWords(error.type);
  const part = remedyPart(error.type);
  return (
    <div class="failure">
      <p class="failure-title">
        <Icon name="warning" /> <strong>{words.title}</strong> <code>{error.type}</code>
      </p>
      <p class="failure-message">{error.message}</p>
      <dl class="failure-words">
        <dt>What it means</dt>
        <dd>{words.meaning}</dd>
        <dt>What to do</dt>
        <dd>
          {words.remedy}{" "}
          {agentId && part && <a href={`/console/agents/${agentId}/${part}`}>Open the agent’s {part}</a>}
        </dd>
        <dt>Try again?</dt>
        <dd>{error.retryable
          ? "Trigger it again with another key. It may succeed without any change."
          : "It will fail again until the cause is fixed."}</dd>
      </dl>
    </div>
  );
}
