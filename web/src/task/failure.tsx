import type { VNode } from "preact";

import { errorWords, remedyPart } from "../task-words.ts";
import type { ErrorDetail, TaskError } from "../types.ts";
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
        {error.detail && (
          <>
            <dt>What the server returned</dt>
            <dd>{detailWords(error.detail)}</dd>
          </>
        )}
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

const DETAILS: [keyof ErrorDetail, string][] = [
  ["status", "HTTP status"],
  ["type", "type"],
  ["code", "code"],
  ["parameter", "parameter"],
  ["request_id", "request id"],
];

/** The identifiers, each with its name. */
function detailWords(detail: ErrorDetail): VNode[] {
  const known = DETAILS.filter(([field]) => detail[field] != null);
  return known.map(([field, name], index) => (
    <span key={field}>
      {index > 0 && ", "}
      {name} <code>{detail[field]}</code>
    </span>
  ));
}
