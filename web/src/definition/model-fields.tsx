import { useId } from "preact/hooks";
import { api } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Agent, SecretsResponse } from "../types.ts";
import { Field, Section, SelectField, TextField } from "../ui/index.ts";
import type { Form, KeyFrom } from "./form.ts";
import { ModelTest } from "./model-test.tsx";
import { PROVIDERS, type ProviderInfo, isUsed, providerInfo } from "./providers.ts";
import type { Editor } from "./save.ts";

const CHOICES: { value: Form["provider"]; label: string; hint: string }[] = [
  { value: "", label: "The deployment’s default", hint: "The model that the operator configured. Without one, the agent quotes its sources." },
  ...PROVIDERS.map(({ name, label, hint }) => ({ value: name, label, hint })),
];

export function ModelFields({ editor, agent }: { editor: Editor; agent?: Agent }) {
  const { form, set, errors } = editor;
  const choice = CHOICES.find(({ value }) => value === form.provider);
  const provider = form.provider === "" ? undefined : providerInfo(form.provider);
  return (
    <Section title="Model">
      <div class="fields two">
        <SelectField
          label="Provider"
          name="model.provider"
          value={form.provider}
          choices={CHOICES}
          error={errors["model"] ?? errors["model.provider"]}
          hint={choice?.hint}
          onValue={(value) => set({ provider: value as Form["provider"] })}
        />
        {provider && isUsed(provider.model_name.rule) && <FieldsOf provider={provider} editor={editor} />}
      </div>
      {(!provider || isUsed(provider.model_name.rule)) && <ModelTest editor={editor} agent={agent} />}
    </Section>
  );
}

function FieldsOf({ provider, editor }: { provider: ProviderInfo; editor: Editor }) {
  const { form, set, errors } = editor;
  const { label, hint, example } = provider.model_name;
  return (
    <>
      <TextField
        label={label}
        name="model.name"
        placeholder={example}
        value={form.modelName}
        error={errors["model.name"]}
        hint={hint}
        onValue={(modelName) => set({ modelName })}
      />
      {isUsed(provider.base_url.rule) && <Address provider={provider} editor={editor} />}
      {isUsed(provider.api_key) && <KeyFields editor={editor} />}
      <PriceFields editor={editor} />
    </>
  );
}

function Address({ provider, editor: { form, set, errors } }: { provider: ProviderInfo; editor: Editor }) {
  const { rule, label, hint, example } = provider.base_url;
  return (
    <div class="wide">
      <TextField
        label={label}
        type="url"
        inputMode="url"
        name="model.base_url"
        optional={rule === "optional"}
        placeholder={example}
        value={form.baseUrl}
        error={errors["model.base_url"]}
        hint={hint}
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

/** The name of a stored secret, with suggestions. */
export function SecretName({ value, error, onValue }: { value: string; error?: string | undefined; onValue: (value: string) => void }) {
  const secrets = useLoad("secrets", (signal) => api.get<SecretsResponse>("/api/secrets", signal));
  const list = useId();
  return (
    <Field label="Secret" error={error} hint="The name of a stored secret.">
      {(wiring) => (
        <>
          <input
            {...wiring}
            class="mono"
            list={list}
            name="model.secret"
            value={value}
            autoComplete="off"
            onInput={(event) => onValue(event.currentTarget.value)}
          />
          <datalist id={list}>
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
