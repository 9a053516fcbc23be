import { api } from "../api.ts";
import { BasicFields, PromptFields } from "../definition/fields.tsx";
import { EMPTY_FORM, parseForm } from "../definition/form.ts";
import { ModelFields } from "../definition/model-fields.tsx";
import { type Editor, InvalidForm, useEditor } from "../definition/save.ts";
import { BASE, navigate } from "../router.ts";
import type { Agent } from "../types.ts";
import { Button, ErrorNote, LinkButton, Page, TextField, toast } from "../ui/index.ts";

export function NewAgentPage() {
  const editor = useEditor(EMPTY_FORM, async (form) => {
    const parsed = parseForm(form);
    if (!parsed.ok) throw new InvalidForm(parsed.errors);
    const token = form.webhookToken.trim();
    const agent = await api.post<Agent>("/api/agents", { ...parsed.definition, ...(token !== "" && { webhook_token: token }) });
    toast(`${agent.name} created`);
    await navigate(`${BASE}/agents/${agent.agent_id}`, { saved: true, replace: true });
    return form;
  });
  return (
    <Page
      title="New agent"
      parent={{ href: `${BASE}/agents`, label: "Agents" }}
      lead="Only the name is required. You can change everything later. Without a model, the agent uses this deployment’s default. In a new deployment, the default answers only from documents and texts."
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
      <summary>Use an existing webhook URL from another system</summary>
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
