import { api } from "../api.ts";
import { BasicFields, PromptFields } from "../definition/fields.tsx";
import { EMPTY_FORM, readForm } from "../definition/form.ts";
import { ModelFields } from "../definition/model-fields.tsx";
import { type Editor, Refused, useEditor } from "../definition/save.ts";
import { BASE, navigate } from "../router.ts";
import type { Agent } from "../types.ts";
import { Button, ErrorNote, LinkButton, Page, TextField, toast } from "../ui/index.ts";

export function NewAgentPage() {
  const editor = useEditor(EMPTY_FORM, async (form) => {
    const reading = readForm(form);
    if (!reading.ok) throw new Refused(reading.errors);
    const token = form.webhookToken.trim();
    const agent = await api.post<Agent>("/api/agents", { ...reading.definition, ...(token !== "" && { webhook_token: token }) });
    toast(`${agent.name} is made`);
    await navigate(`${BASE}/agents/${agent.agent_id}`, { saved: true, replace: true });
    return form;
  });
  return (
    <Page
      title="New agent"
      parent={{ href: `${BASE}/agents`, label: "Agents" }}
      lead="Only the name is required, and all can be changed later. Without a model the agent uses this deployment’s default, which on a fresh one answers from documents and texts only."
    >
      <form
        ref={editor.place}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void editor.save();
        }}
      >
        <BasicFields editor={editor} />
        <PromptFields editor={editor} />
        <ModelFields editor={editor} />
        <ExistingUrl editor={editor} />
        {editor.refusal && <ErrorNote error={editor.refusal} />}
        <div class="form-actions">
          <Button kind="primary" type="submit" busy={editor.busy}>
            Create agent
          </Button>
          <LinkButton href={`${BASE}/agents`}>Cancel</LinkButton>
        </div>
      </form>
    </Page>
  );
}

function ExistingUrl({ editor: { form, set, errors } }: { editor: Editor }) {
  return (
    <details class="card how-to" open={errors["webhook_token"] !== undefined || undefined}>
      <summary>Bring a webhook URL along from another system</summary>
      <TextField
        label="Webhook token"
        optional
        class="mono"
        name="webhook_token"
        autoComplete="off"
        value={form.webhookToken}
        error={errors["webhook_token"]}
        hint="The last part of the existing URL: 16 to 128 letters, digits, - and _."
        onValue={(webhookToken) => set({ webhookToken })}
      />
    </details>
  );
}
