import { useEffect, useMemo, useState } from "preact/hooks";
import { type ApiError, asApiError, isAbort, request } from "../api.ts";
import { useDebounced } from "../hooks.ts";
import { samplePayload } from "../trigger.ts";
import type { RenderedPrompt } from "../types.ts";
import { Field, Icon } from "../ui/index.ts";
import { jsonFault, refusalInWords } from "./form.ts";

const DEBOUNCE_MS = 300;

type Preview = { system?: string; error?: string };

interface PreviewProps {
  prompt: string;
  name: string;
  /** Whether the agent has sources, whose passages follow the prompt. */
  hasSources: boolean;
}

/** The prompt rendered for a sample payload by the server, as in a run. The initial sample
 * has the fields that the prompt uses. */
export function PromptPreview({ prompt, name, hasSources }: PreviewProps) {
  const [typed, setPayload] = useState<string>();
  const payload = typed ?? samplePayload(prompt);
  const preview = usePreview(prompt, payload, name);
  return (
    <div class="preview">
      <Field label="Sample payload">
        {(wiring) => (
          <textarea
            {...wiring}
            class="mono"
            rows={4}
            spellcheck={false}
            value={payload}
            onInput={(event) => setPayload(event.currentTarget.value)}
          />
        )}
      </Field>
      <div class="preview-result">
        <h3>What the model gets</h3>
        <div role="status" aria-label="Preview of the prompt">
          {preview.error && (
            <p class="field-error">
              <Icon name="warning" />
              <span>{preview.error}</span>
            </p>
          )}
        </div>
        <pre class={preview.error ? "preview-text stale" : "preview-text"} tabIndex={0} role="region" aria-label="Rendered prompt">
          {preview.system ?? ""}
        </pre>
        {hasSources && <p class="hint">The passages of its sources that best match the payload follow.</p>}
      </div>
    </div>
  );
}

/** The last successful rendering stays visible while the current input has an error. */
function usePreview(prompt: string, payload: string, name: string): Preview {
  const [preview, setPreview] = useState<Preview>({});
  const typed = useMemo(() => requestFor(prompt, payload, name), [prompt, payload, name]);
  const asked = useDebounced(typed, DEBOUNCE_MS);
  useEffect(() => {
    const showError = (error: string) => setPreview(({ system }) => ({ ...(system !== undefined && { system }), error }));
    if (asked.fault) return showError(asked.fault);
    const controller = new AbortController();
    render(asked.body, controller.signal).then(setPreview, (error: unknown) => {
      if (!isAbort(error) && !controller.signal.aborted) showError(inWords(asApiError(error)));
    });
    return () => controller.abort();
  }, [asked]);
  return preview;
}

function render(body: string, signal: AbortSignal): Promise<Preview> {
  const headers = { "Content-Type": "application/json" };
  return request<RenderedPrompt>("/api/prompt_preview", { method: "POST", body, headers, signal });
}

/** The request body, or why it cannot be sent. The payload is sent as typed, to preserve its digits. */
function requestFor(prompt: string, payload: string, name: string): { body: string; fault: string | undefined } {
  const template = prompt.trim() === "" ? null : prompt;
  const fields = JSON.stringify({ prompt: template, ...(name.trim() !== "" && { name: name.trim() }) });
  const wrong = jsonFault(payload);
  return {
    body: `${fields.slice(0, -1)},"payload":${payload}}`,
    fault: wrong && `The sample payload is not valid JSON. ${wrong}.`,
  };
}

function inWords(error: ApiError): string {
  if (error.code === "invalid_prompt") return refusalInWords(error.message);
  return error.reference ? `${error.message} (reference ${error.reference})` : error.message;
}
