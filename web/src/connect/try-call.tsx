import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import { jsonFault, pretty } from "../definition/form.ts";
import { formatDuration } from "../format.ts";
import type { CallTrial } from "../types.ts";
import { Button, ErrorNote, Note, TextArea } from "../ui/index.ts";
import { type Callable, sampleArguments } from "./draft.ts";

/** Calls one operation with sample arguments and shows the result. Give it a key that changes with the operation. */
export function TryCall({ callable }: { callable: Callable }) {
  const [text, setText] = useState(() => pretty({ ...sampleArguments(callable.schema), ...callable.sample }));
  const [called, setCalled] = useState<CallTrial>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const fault = jsonFault(text);

  async function call() {
    setBusy(true);
    setError(undefined);
    setCalled(undefined);
    try {
      const body = { tool: callable.tool, operation: callable.operation, arguments: JSON.parse(text) as unknown };
      setCalled(await api.post<CallTrial>("/api/tools/call", body));
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }
  return (
    <div class="stack try-call" role="group" aria-label={`Try ${callable.operation}`}>
      <TextArea
        label={`Arguments of ${callable.operation}, as JSON`}
        class="mono"
        rows={Math.min(12, Math.max(3, text.split("\n").length))}
        spellcheck={false}
        value={text}
        error={fault === undefined ? undefined : `This is not valid JSON. ${fault}.`}
        hint="The call is real: it can change data on the server."
        onValue={setText}
      />
      <div>
        <Button busy={busy} disabled={fault !== undefined} onClick={call}>
          Call
        </Button>
      </div>
      {error && <ErrorNote error={error} />}
      {called && <CallResult called={called} />}
    </div>
  );
}

function CallResult({ called }: { called: CallTrial }) {
  const took = formatDuration(called.took_ms);
  return (
    <div class="stack" role="status">
      {called.error ? <Note tone="warn">{called.error.message}</Note> : <Note tone="good">Called in {took}. The model would get:</Note>}
      {called.result !== undefined && (
        <pre class="preview-text" tabIndex={0} role="region" aria-label="Result">
          {called.result}
        </pre>
      )}
    </div>
  );
}
