// The tool calls of a run, in order.
import type { VNode } from "preact";

import { formatDuration, plural } from "../format.ts";
import { JsonTree } from "../render/json.tsx";
import { type JsonNode, jsonAt, tryParseJson } from "../render/json-text.ts";
import type { ToolCall } from "../types.ts";
import { Badge, type Tone } from "../ui/index.ts";

type State = readonly [Tone, string];

/** A status that is missing here was added by a later version. */
const STATES: Record<string, State> = {
  ok: ["good", "ok"],
  error: ["bad", "error"],
  refused: ["wait", "not called: needs a person's approval"],
  unknown: ["wait", "unknown: the run was stopped during the call"],
} satisfies Record<ToolCall["status"], State>;

/** `written` are the same calls as parsed from the response text, with their digits preserved. */
export function ToolCalls({ calls, written }: { calls: ToolCall[]; written: JsonNode | undefined }): VNode {
  return (
    <ol class="tool-calls">
      {calls.map((call, index) => (
        <li key={index}><Call call={call} argumentsNode={jsonAt(written, index, "arguments")} /></li>
      ))}
    </ol>
  );
}

/** `3 calls in 2 turns, 1 of them without success` */
export function callsInWords(calls: ToolCall[]): string {
  const turns = new Set(calls.map((call) => call.turn)).size;
  const failed = calls.filter((call) => call.status !== "ok").length;
  const end = failed > 0 ? `, ${failed} of them without success` : "";
  return `${plural(calls.length, "call")} in ${plural(turns, "turn")}${end}`;
}

function Call({ call, argumentsNode }: { call: ToolCall; argumentsNode: JsonNode | undefined }): VNode {
  const [tone, state] = STATES[call.status] ?? ["plain", call.status];
  return (
    <details class="tool-call">
      <summary>
        <span class="tool-name mono">{call.tool_name}</span>
        <Badge tone={tone}>{state}</Badge>
        <span class="tool-facts">
          <span>turn {call.turn}</span>
          <span>{formatDuration(call.duration_ms)}</span>
        </span>
      </summary>
      <h3>Arguments</h3>
      {argumentsNode ? <JsonTree value={argumentsNode} label={`Arguments of ${call.tool_name}`} /> : <p class="hint">Not stored.</p>}
      <h3>Result</h3>
      <Result text={call.result} name={call.tool_name} />
    </details>
  );
}

function Result({ text, name }: { text: string; name: string }): VNode {
  const json = /^\s*[{[]/.test(text) ? tryParseJson(text) : null;
  if (json) return <JsonTree value={json} label={`Result of ${name}`} />;
  if (text === "") return <p class="hint">Not stored.</p>;
  return <pre class="raw-text" tabIndex={0} role="region" aria-label={`Result of ${name}`}>{text.trimEnd()}</pre>;
}
