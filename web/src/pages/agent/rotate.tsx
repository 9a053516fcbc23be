import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../../api.ts";
import { useNow } from "../../hooks.ts";
import type { Agent, WebhookUrl } from "../../types.ts";
import { Button, Copyable, Dialog, ErrorNote, Note, SelectField, Time } from "../../ui/index.ts";

const OVERLAPS = [
  { value: "0", label: "Not at all: it ends now" },
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
  { value: "2592000", label: "30 days" },
];

interface RotateProps {
  agent: Agent;
  onChanged: (agent: Agent) => void;
  onClose: () => void;
}

/** Creates a new webhook URL. The old one works until the end of the selected overlap. */
export function RotateDialog({ agent, onChanged, onClose }: RotateProps) {
  const [overlap, setOverlap] = useState("86400");
  const [until, setUntil] = useState<number>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  async function rotate() {
    setBusy(true);
    try {
      const path = `/api/agents/${agent.agent_id}/webhook/rotate`;
      const { webhook_url } = await api.post<WebhookUrl>(path, { overlap_seconds: Number(overlap) });
      setUntil(Date.now() + Number(overlap) * 1000);
      onChanged({ ...agent, webhook_url });
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }

  if (until !== undefined) return <Rotated agent={agent} ended={overlap === "0"} until={until} onClose={onClose} />;
  return (
    <Dialog title="Rotate the webhook URL" onClose={onClose}>
      <p>
        This agent gets a new URL. Update all systems that call the old one while both work. URLs from earlier rotations end no
        later than the old one.
      </p>
      <SelectField label="How long the old URL keeps working" value={overlap} choices={OVERLAPS} onValue={setOverlap} />
      <Until seconds={Number(overlap)} />
      {error && <ErrorNote error={error} />}
      <div class="dialog-actions">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" busy={busy} onClick={rotate}>
          Rotate
        </Button>
      </div>
    </Dialog>
  );
}

function Until({ seconds }: { seconds: number }) {
  const now = useNow(1000);
  if (seconds === 0) {
    return (
      <Note tone="warn">
        The old URL and every earlier one return 404 at once. On AWS this takes up to 10 seconds.
      </Note>
    );
  }
  return (
    <p class="hint">
      The old URL works until <Time at={new Date(now + seconds * 1000).toISOString()} absolute />.
    </p>
  );
}

function Rotated({ agent, ended, until, onClose }: { agent: Agent; ended: boolean; until: number; onClose: () => void }) {
  return (
    <Dialog title="This is the new URL" onClose={onClose}>
      <Copyable text={agent.webhook_url} what="New webhook URL" label="New webhook URL" />
      <p role="status">
        {ended ? (
          "The old URL has ended. So has every earlier one."
        ) : (
          <>
            The old URL works until <Time at={new Date(until).toISOString()} absolute />.
          </>
        )}
      </p>
      <div class="dialog-actions">
        <Button kind="primary" onClick={onClose}>
          Done
        </Button>
      </div>
    </Dialog>
  );
}
