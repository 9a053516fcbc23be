import { useId } from "preact/hooks";
import { SaveBar } from "../../definition/save-bar.tsx";
import { type Editor, useAgentEditor } from "../../definition/save.ts";
import { useDocuments } from "../../documents.ts";
import type { InlineSource } from "../../types.ts";
import { Button, Icon, Section, TextArea, TextField } from "../../ui/index.ts";
import { Documents } from "./documents.tsx";
import type { PartProps } from "./part.ts";

export function SourcesPart({ agent, onChanged }: PartProps) {
  const editor = useAgentEditor(agent, onChanged);
  const documents = useDocuments(agent.agent_id);
  return (
    <>
      <Documents agentId={agent.agent_id} documents={documents} />
      <form
        ref={editor.place}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void editor.save();
        }}
      >
        <Texts editor={editor} withoutDocuments={documents.data?.sources.length === 0} />
        <SaveBar editor={editor} />
      </form>
    </>
  );
}

function Texts({ editor: { form, set, errors }, withoutDocuments }: { editor: Editor; withoutDocuments: boolean }) {
  const id = useId();
  const change = (at: number, source: Partial<InlineSource>) =>
    set({ sources: form.sources.map((was, place) => (place === at ? { ...was, ...source } : was)) });
  return (
    <Section
      title="Texts"
      hint="Short texts that are part of the definition, 256 KiB in total. Upload longer texts as documents."
      actions={
        <Button small icon="plus" onClick={() => set({ sources: [...form.sources, { title: "", text: "" }] })}>
          Add a text
        </Button>
      }
    >
      {errors["sources"] && (
        <p class="field-error" role="alert">
          <Icon name="warning" />
          <span>{errors["sources"]}</span>
        </p>
      )}
      {form.sources.length === 0 && (
        <p class="dim">
          No texts yet.
          {withoutDocuments && " Without documents and texts, the agent can use only the prompt and the payload, and needs a model."}
        </p>
      )}
      <ul class="texts">
        {form.sources.map((source, at) => (
          <li key={at} aria-labelledby={`${id}-${at}`}>
            <div class="texts-head">
              <h3 id={`${id}-${at}`}>{source.title.trim() || `Text ${at + 1}`}</h3>
              <Button
                small
                kind="quiet"
                icon="trash"
                aria-label={`Remove ${source.title.trim() || `text ${at + 1}`}`}
                onClick={() => set({ sources: form.sources.filter((_, place) => place !== at) })}
              >
                Remove
              </Button>
            </div>
            <div class="fields">
              <TextField label="Title" value={source.title} onValue={(title) => change(at, { title })} placeholder="Returns policy" />
              <TextArea label="Text" rows={5} value={source.text} onValue={(text) => change(at, { text })} hint="Plain text or Markdown." />
            </div>
          </li>
        ))}
      </ul>
    </Section>
  );
}
