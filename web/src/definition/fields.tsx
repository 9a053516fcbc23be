// The parts of a definition's form, for new and existing agents.
import { Section, Switch, TextArea, TextField } from "../ui/index.ts";
import { LIMITS } from "./form.ts";
import { PromptPreview } from "./preview.tsx";
import type { Editor } from "./save.ts";

export function BasicFields({ editor: { form, set, errors } }: { editor: Editor }) {
  return (
    <Section title="Basics">
      <div class="fields">
        <TextField
          label="Name"
          name="name"
          placeholder="order-triage"
          value={form.name}
          error={errors["name"]}
          onValue={(name) => set({ name })}
          hint="Up to 128 characters. Available in the prompt as {{ agent.name }}."
        />
        <Switch
          label="Enabled"
          hint="The webhook of a disabled agent returns 404."
          checked={form.enabled}
          onChecked={(enabled) => set({ enabled })}
        />
      </div>
    </Section>
  );
}

export function PromptFields({ editor: { form, set, errors }, hasSources = false }: { editor: Editor; hasSources?: boolean }) {
  return (
    <Section
      title="Prompt"
      hint={
        <>
          The system prompt: a Jinja template with the variables <code>payload</code>, <code>agent.name</code>,{" "}
          <code>task_id</code> and <code>now</code>. The payload is sent as the user message. Without a prompt, the model gets its
          name and is asked for a brief answer.
        </>
      }
    >
      <div class="prompt-editor">
        <TextArea
          label="Prompt"
          class="mono prompt"
          name="prompt"
          rows={14}
          spellcheck={false}
          placeholder={"You triage orders.\nOrder: {{ payload.order }}"}
          value={form.prompt}
          error={errors["prompt"]}
          onValue={(prompt) => set({ prompt })}
        />
        <PromptPreview prompt={form.prompt} name={form.name} hasSources={hasSources} />
      </div>
    </Section>
  );
}

export function SchemaFields({ editor: { form, set, errors } }: { editor: Editor }) {
  return (
    <Section
      title="Answer format"
      hint="With a JSON schema, the answer is JSON that matches it. If it does not match, the model is asked again, at most twice. Without a schema, the answer is text."
    >
      <TextArea
        label="Output schema"
        optional
        class="mono"
        name="output_schema"
        rows={8}
        spellcheck={false}
        placeholder={'{\n  "type": "object",\n  "properties": { "urgent": { "type": "boolean" } },\n  "required": ["urgent"]\n}'}
        value={form.schema}
        error={errors["output_schema"]}
        onValue={(schema) => set({ schema })}
      />
    </Section>
  );
}

export function LimitFields({ editor: { form, set, errors } }: { editor: Editor }) {
  return (
    <Section title="Limits" hint="Limits of one run, and of all runs of this agent.">
      <div class="fields three">
        {LIMITS.map(({ name, label, hint, usual }) => (
          <TextField
            key={name}
            label={label}
            hint={hint}
            name={`limits.${name}`}
            inputMode="numeric"
            placeholder={usual || "no limit"}
            value={form.limits[name]}
            error={errors[`limits.${name}`]}
            onValue={(value) => set({ limits: { ...form.limits, [name]: value } })}
          />
        ))}
      </div>
    </Section>
  );
}
