import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Secret, SecretsResponse } from "../types.ts";
import { Button, Dialog, ErrorNote, ErrorState, Skeleton, TextField, ask, toast } from "../ui/index.ts";

/** Opens the credentials of tools and models, which all agents of the deployment share by name. */
export function SecretsButton() {
  const [open, setOpen] = useState(false);
  return (
    <>
      <Button small onClick={() => setOpen(true)}>
        Secrets…
      </Button>
      {open && <SecretDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function SecretDialog({ onClose }: { onClose: () => void }) {
  const secrets = useLoad("secrets", (signal) => api.get<SecretsResponse>("/api/secrets", signal));
  return (
    <Dialog title="Secrets" onClose={onClose}>
      <p class="hint">
        The tools and models of all agents refer to secrets by name. A value is never shown again. Saving a new value replaces it.
      </p>
      {secrets.data ? (
        <SecretList secrets={secrets.data.secrets} onChange={secrets.reload} />
      ) : secrets.error ? (
        <ErrorState error={secrets.error} retry={secrets.reload} />
      ) : (
        <Skeleton lines={2} />
      )}
      <NewSecret onSaved={secrets.reload} />
      <div class="dialog-actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

function SecretList({ secrets, onChange }: { secrets: Secret[]; onChange: () => void }) {
  async function remove(name: string) {
    if (!(await ask(`Delete the secret ${name}?`, "No agent uses it. Its value cannot be recovered.", "Delete"))) return;
    try {
      await api.delete(`/api/secrets/${pathOf(name)}`);
      onChange();
    } catch (error) {
      toast(asApiError(error).message, "bad");
    }
  }
  if (secrets.length === 0) return <p class="dim">No secrets yet.</p>;
  return (
    <ul class="rows">
      {secrets.map(({ name, agents }) => (
        <li key={name}>
          <code>{name}</code>
          <span class="dim">{agents.length === 0 ? "not used" : `${agents.length} agent${agents.length === 1 ? "" : "s"}`}</span>
          <Button
            small
            kind="quiet"
            icon="trash"
            aria-label={`Delete the secret ${name}`}
            disabled={agents.length > 0}
            onClick={() => remove(name)}
          />
        </li>
      ))}
    </ul>
  );
}

function NewSecret({ onSaved }: { onSaved: () => void }) {
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const complete = name.trim() !== "" && value !== "";

  async function save() {
    if (!complete || busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await api.put(`/api/secrets/${pathOf(name.trim())}`, { value });
      toast(`Secret ${name.trim()} saved`);
      setName("");
      setValue("");
      onSaved();
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    void save();
  }

  return (
    // Not a <form>: the dialog is inside the definition's form, which Enter must not submit.
    <div class="stack" role="group" aria-label="Save a secret" onKeyDown={onKeyDown}>
      <div class="fields two tight">
        <TextField label="Name" class="mono" placeholder="shop-token" value={name} onValue={setName} autoComplete="off" />
        <TextField label="Value" type="password" value={value} onValue={setValue} autoComplete="off" />
      </div>
      {error && <ErrorNote error={error} />}
      <div>
        <Button busy={busy} disabled={!complete} onClick={save}>
          Save secret
        </Button>
      </div>
    </div>
  );
}

/** A name can contain slashes, which are not encoded. */
function pathOf(name: string): string {
  return name.split("/").map(encodeURIComponent).join("/");
}
