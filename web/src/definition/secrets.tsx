import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import { useLoad } from "../load.ts";
import type { Secret } from "../types.ts";
import { Button, Dialog, ErrorNote, ErrorState, Skeleton, TextField, ask, toast } from "../ui/index.ts";

/** Credentials of tools and models, kept by name for all agents of the deployment. */
export function SecretKeeper() {
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
  const secrets = useLoad("secrets", (signal) => api.get<{ secrets: Secret[] }>("/api/secrets", signal));
  return (
    <Dialog title="Secrets" onClose={onClose}>
      <p class="hint">
        Tools and models refer to them by name, in every agent of this deployment. A value is never shown again; a new one replaces it.
      </p>
      {secrets.data ? (
        <SecretList secrets={secrets.data.secrets} onChange={secrets.reload} />
      ) : secrets.error ? (
        <ErrorState error={secrets.error} retry={secrets.reload} />
      ) : (
        <Skeleton lines={2} />
      )}
      <NewSecret onKept={secrets.reload} />
      <div class="dialog-actions">
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

function SecretList({ secrets, onChange }: { secrets: Secret[]; onChange: () => void }) {
  async function remove(name: string) {
    if (!(await ask(`Delete the secret ${name}?`, "Nothing refers to it now; its value is gone for good.", "Delete"))) return;
    try {
      await api.delete(`/api/secrets/${pathOf(name)}`);
      onChange();
    } catch (error) {
      toast(asApiError(error).message, "bad");
    }
  }
  if (secrets.length === 0) return <p class="dim">None is kept yet.</p>;
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

function NewSecret({ onKept }: { onKept: () => void }) {
  const [name, setName] = useState("");
  const [value, setValue] = useState("");
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const complete = name.trim() !== "" && value !== "";

  async function keep() {
    if (!complete || busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await api.put(`/api/secrets/${pathOf(name.trim())}`, { value });
      toast(`Secret ${name.trim()} kept`);
      setName("");
      setValue("");
      onKept();
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key !== "Enter" || !(event.target instanceof HTMLInputElement)) return;
    event.preventDefault();
    void keep();
  }

  return (
    // No form: the dialog stands inside the definition's, which Enter must not save.
    <div class="stack" role="group" aria-label="Keep a secret" onKeyDown={onKeyDown}>
      <div class="fields two tight">
        <TextField label="Name" class="mono" placeholder="shop-token" value={name} onValue={setName} autoComplete="off" />
        <TextField label="Value" type="password" value={value} onValue={setValue} autoComplete="off" />
      </div>
      {error && <ErrorNote error={error} />}
      <div>
        <Button busy={busy} disabled={!complete} onClick={keep}>
          Keep
        </Button>
      </div>
    </div>
  );
}

/** A name may have slashes, which are parts of the path. */
function pathOf(name: string): string {
  return name.split("/").map(encodeURIComponent).join("/");
}
