import { SecretName } from "../definition/model-fields.tsx";
import { TextField } from "../ui/index.ts";
import type { Credential } from "./draft.ts";

interface CredentialFieldsProps {
  value: Credential;
  onValue: (value: Credential) => void;
}

/** A header with a stored secret. */
export function CredentialFields({ value, onValue }: CredentialFieldsProps) {
  return (
    <details class="how-to" open={value.secret !== "" || undefined}>
      <summary>Authentication</summary>
      <div class="fields three tight">
        <TextField label="Header" class="mono" value={value.header} onValue={(header) => onValue({ ...value, header })} />
        <TextField
          label="Text before the secret"
          optional
          class="mono"
          placeholder="Bearer "
          value={value.prefix}
          onValue={(prefix) => onValue({ ...value, prefix })}
        />
        <SecretName value={value.secret} onValue={(secret) => onValue({ ...value, secret })} />
      </div>
    </details>
  );
}
