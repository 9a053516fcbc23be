import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../../api.ts";
import { BASE, navigate } from "../../router.ts";
import type { Agent } from "../../types.ts";
import { Button, Dialog, ErrorNote, Section, TextField, toast } from "../../ui/index.ts";
import type { PartProps } from "./part.ts";

export function DangerPart({ agent, onChanged }: PartProps) {
  const [deleting, setDeleting] = useState(false);
  return (
    <Section title="Danger zone">
      <ul class="dangers">
        <li>
          <Enabling agent={agent} onChanged={onChanged} />
        </li>
        <li>
          <div>
            <h3>Delete this agent</h3>
            <p class="hint">
              Its webhook returns 404, its waiting tasks fail, and its documents and its key are deleted. This cannot be undone.
            </p>
          </div>
          <Button kind="danger" icon="trash" onClick={() => setDeleting(true)}>
            Delete…
          </Button>
        </li>
      </ul>
      {deleting && <DeleteDialog agent={agent} onClose={() => setDeleting(false)} />}
    </Section>
  );
}

function Enabling({ agent, onChanged }: PartProps) {
  const [busy, setBusy] = useState(false);
  async function change() {
    setBusy(true);
    try {
      onChanged(await api.patch<Agent>(`/api/agents/${agent.agent_id}`, { enabled: !agent.enabled }));
      toast(agent.enabled ? "Agent disabled" : "Agent enabled");
    } catch (error) {
      toast(asApiError(error).message, "bad");
    }
    setBusy(false);
  }
  return (
    <>
      <div>
        <h3>{agent.enabled ? "Disable this agent" : "Enable this agent"}</h3>
        <p class="hint">
          {agent.enabled
            ? "Its webhook returns 404 until it is enabled again. Its URL and its definition do not change."
            : "Its webhook accepts triggers again, at the same URL."}
        </p>
      </div>
      <Button busy={busy} onClick={change}>
        {agent.enabled ? "Disable" : "Enable"}
      </Button>
    </>
  );
}

function DeleteDialog({ agent, onClose }: { agent: Agent; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const confirmed = typed.trim() === agent.name;

  async function remove(event: SubmitEvent) {
    event.preventDefault();
    if (!confirmed || busy) return;
    setBusy(true);
    try {
      await api.delete(`/api/agents/${agent.agent_id}`);
      toast(`${agent.name} deleted`);
      await navigate(`${BASE}/agents`, { replace: true });
    } catch (problem) {
      setError(asApiError(problem));
      setBusy(false);
    }
  }

  return (
    <Dialog title={`Delete ${agent.name}?`} onClose={onClose}>
      <form class="stack" onSubmit={remove}>
        <p>The agent, its webhook URL, its documents and its key are deleted. This cannot be undone.</p>
        <TextField label={`Type ${agent.name} to confirm`} value={typed} onValue={setTyped} autoComplete="off" />
        {error && <ErrorNote error={error} />}
        <div class="dialog-actions">
          <Button onClick={onClose}>Cancel</Button>
          <Button kind="danger" type="submit" busy={busy} disabled={!confirmed}>
            Delete permanently
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
