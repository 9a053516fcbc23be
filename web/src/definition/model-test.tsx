import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import { formatDuration } from "../format.ts";
import type { Agent, ModelTrial } from "../types.ts";
import { Button, ErrorNote, Note } from "../ui/index.ts";
import { parseModel } from "./form.ts";
import type { Editor } from "./save.ts";

type Part = ModelTrial["refuses"][number];

/** What runs do about a part that a server refuses. */
const REFUSALS: Record<Part, string> = {
  max_tokens: "It refuses the limit of the answer as max_tokens. Runs send it under another name.",
  max_completion_tokens: "It refuses the limit of the answer as max_completion_tokens. Runs send it under another name.",
  schema: "It does not enforce answer schemas. Runs ask for the schema in the prompt and check the answer.",
  schema_with_tools: "It refuses an answer schema beside tools. Runs with tools ask for the schema in the prompt.",
  system_message: "It refuses system messages. Runs send the prompt with the payload.",
  tools: "It refuses tools. An agent with tools needs another model.",
  empty_content: "It refuses messages without text. Runs send an empty text.",
};

/** Sends one request to the model in the form. */
export function ModelTest({ editor: { form }, agent }: { editor: Editor; agent?: Agent | undefined }) {
  const [tested, setTested] = useState<ModelTrial>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  async function test() {
    setBusy(true);
    setError(undefined);
    setTested(undefined);
    try {
      const model = parseModel({ ...form, priceInput: "", priceOutput: "" }, agent?.model, {});
      // The default model of the deployment is tested without an agent, which may have another one.
      const body = model ? { model, ...(agent && { agent_id: agent.agent_id }) } : {};
      setTested(await api.post<ModelTrial>("/api/models/test", body));
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }
  return (
    <div class="stack model-test">
      <div class="inserts">
        <Button busy={busy} onClick={test}>
          Test connection
        </Button>
        <span class="hint">Sends one short request, which costs a few hundred tokens.</span>
      </div>
      {error && <ErrorNote error={error} />}
      <div role="status" aria-label="Result of the test">
        {tested && <Result tested={tested} />}
      </div>
    </div>
  );
}

function Result({ tested }: { tested: ModelTrial }) {
  const refusals = tested.refuses.map((part) => REFUSALS[part]);
  return (
    <Note tone={tested.ok ? "good" : "warn"}>
      <p>
        {tested.error
          ? tested.error.message
          : `${tested.model} replied in ${formatDuration(tested.took_ms)}, with ${tested.input_tokens} input and ${tested.output_tokens} output tokens.`}
      </p>
      {tested.ok && refusals.length === 0 && <p>It takes system messages, tools and answer schemas.</p>}
      {refusals.map((text) => (
        <p key={text}>{text}</p>
      ))}
    </Note>
  );
}
