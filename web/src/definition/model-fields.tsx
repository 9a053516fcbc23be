import { api } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Provider, SecretsResponse } from "../types.ts";
import { Field, Section, SelectField, TextField } from "../ui/index.ts";
import type { Form, KeyFrom } from "./form.ts";
import type { Editor } from "./save.ts";

const PROVIDERS: { value: Provider | ""; label: string; hint: string }[] = [
  { value: "", label: "The deployment’s default", hint: "The model that the operator configured. Without one, the agent quotes its sources." },
  {
    value: "openai",
    label: "OpenAI chat completions",
    hint: "OpenAI, Ollama, vLLM, llama.cpp, LiteLLM, DocsGPT and every other server with this API.",
  },
  { value: "anthropic", label: "Anthropic messages", hint: "Claude, at Anthropic or behind a proxy." },
  { value: "bedrock", label: "Amazon Bedrock", hint: "In the deployment’s region, with the IAM role of its function. Needs no key and no URL." },
  { value: "extractive", label: "No model", hint: "Returns the best passages of the agent’s sources, unchanged." },
];

export function ModelFields({ editor }: { editor: Editor }) {
  const { form, set, errors } = editor;
  const provider = PROVIDERS.find(({ value }) => value === form.provider);
  const asks = form.provider !== "" && form.provider !== "extractive";
  return (
    <Section title="Model">
      <div class="fields two">
        <SelectField
          label="Provider"
          name="model.provider"
          value={form.provider}
          choices={PROVIDERS}
          error={errors["model"] ?? errors["model.provider"]}
          hint={provider?.hint}
          onValue={(value) => set({ provider: value as Form["provider"] })}
        />
        {asks && (
          <TextField
            label={form.provider === "bedrock" ? "Model or inference profile" : "Model"}
            name="model.name"
            placeholder={PLACEHOLDER[form.provider as Provider].name}
            value={form.modelName}
            error={errors["model.name"]}
            hint={form.provider === "bedrock" ? "Its id or ARN." : "Its name on that server."}
            onValue={(modelName) => set({ modelName })}
          />
        )}
        {asks && form.provider !== "bedrock" && <Address editor={editor} />}
        {asks && form.provider !== "bedrock" && <KeyFields editor={editor} />}
        {asks && <PriceFields editor={editor} />}
      </div>
    </Section>
  );
}

const PLACEHOLDER: Record<Provider, { name: string; url: string }> = {
  openai: { name: "llama3.2", url: "http://127.0.0.1:11434/v1" },
  anthropic: { name: "claude-sonnet-4-5", url: "https://api.anthropic.com" },
  bedrock: { name: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", url: "" },
  extractive: { name: "", url: "" },
};

function Address({ editor: { form, set, errors } }: { editor: Editor }) {
  const anthropic = form.provider === "anthropic";
  return (
    <div class="wide">
      <TextField
        label="Base URL"
        type="url"
        inputMode="url"
        name="model.base_url"
        optional={anthropic}
        placeholder={PLACEHOLDER[form.provider as Provider].url}
        value={form.baseUrl}
        error={errors["model.base_url"]}
        hint={anthropic ? "Without /v1/messages at the end." : "Without /chat/completions at the end; usually ends with /v1."}
        onValue={(baseUrl) => set({ baseUrl })}
      />
    </div>
  );
}

function KeyFields({ editor: { form, set, errors } }: { editor: Editor }) {
  const choices: { value: KeyFrom; label: string }[] = [
    { value: "none", label: "No key" },
    ...(form.hasKey ? [{ value: "stored" as const, label: "The stored key" }] : []),
    { value: "typed", label: "Enter a key" },
    { value: "secret", label: "A named secret" },
  ];
  return (
    <>
      <SelectField
        label="API key"
        name="key-from"
        value={form.keyFrom}
        choices={choices}
        hint="Saved in the secret store and never shown again."
        onValue={(value) => set({ keyFrom: value as KeyFrom })}
      />
      {form.keyFrom === "typed" && (
        <TextField
          label="Key"
          type="password"
          name="model.api_key"
          autoComplete="off"
          value={form.key}
          error={errors["model.api_key"]}
          onValue={(key) => set({ key })}
        />
      )}
      {form.keyFrom === "secret" && <SecretName value={form.secret} error={errors["model.api_key"]} onValue={(secret) => set({ secret })} />}
    </>
  );
}

function SecretName({ value, error, onValue }: { value: string; error?: string | undefined; onValue: (value: string) => void }) {
  const secrets = useLoad("secrets", (signal) => api.get<SecretsResponse>("/api/secrets", signal));
  return (
    <Field label="Secret" error={error} hint="The name of a stored secret.">
      {(wiring) => (
        <>
          <input
            {...wiring}
            class="mono"
            list="secret-names"
            name="model.secret"
            value={value}
            autoComplete="off"
            onInput={(event) => onValue(event.currentTarget.value)}
          />
          <datalist id="secret-names">
            {secrets.data?.secrets.map(({ name }) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

function PriceFields({ editor: { form, set, errors } }: { editor: Editor }) {
  return (
    <fieldset class="wide">
      <legend>
        Price, US dollars per million tokens<span class="optional"> optional</span>
      </legend>
      <div class="fields two tight">
        <TextField
          label="Input tokens"
          name="model.price.input"
          inputMode="decimal"
          placeholder="0.15"
          value={form.priceInput}
          error={errors["model.price"] ?? errors["model.price.input"]}
          onValue={(priceInput) => set({ priceInput })}
        />
        <TextField
          label="Output tokens"
          name="model.price.output"
          inputMode="decimal"
          placeholder="0.60"
          value={form.priceOutput}
          error={errors["model.price.output"]}
          onValue={(priceOutput) => set({ priceOutput })}
        />
      </div>
      <p class="hint">The overview uses it to estimate costs.</p>
    </fieldset>
  );
}
