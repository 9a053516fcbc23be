import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import type { ApiListing, InspectedTool } from "../types.ts";
import { Button, ErrorNote, Field, Note, SelectField, TextArea, TextField } from "../ui/index.ts";
import { ChoiceList, type Chosen } from "./choice-list.tsx";
import { CredentialFields } from "./credential.tsx";
import { type Credential, type JsonObject, NO_CREDENTIAL, choicesOfApi, httpTool, toolName } from "./draft.ts";
import { Enter } from "./enter.tsx";
import type { ConnectProps } from "./mcp.tsx";
import { TryCall } from "./try-call.tsx";

type From = "url" | "file" | "text";

const SOURCES: { value: From; label: string }[] = [
  { value: "url", label: "A URL" },
  { value: "file", label: "A file" },
  { value: "text", label: "Pasted text" },
];

/** A document as the API takes it. */
type Source = { url: string } | { document: string };

/** Reads an OpenAPI document, and adds the chosen operations. */
export function ConnectApi({ taken, onAdd }: ConnectProps) {
  const [from, setFrom] = useState<From>("url");
  const [url, setUrl] = useState("");
  const [text, setText] = useState("");
  const [listing, setListing] = useState<ApiListing>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const source: Source = from === "url" ? { url: url.trim() } : { document: text };
  const isEmpty = from === "url" ? url.trim() === "" : text.trim() === "";

  async function read() {
    if (busy || isEmpty) return;
    setBusy(true);
    setError(undefined);
    setListing(undefined);
    try {
      setListing(await inspect(source));
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }
  function change(apply: () => void) {
    apply();
    setListing(undefined);
  }
  return (
    <div class="stack">
      <Enter onEnter={read}>
        <SelectField
          label="OpenAPI document"
          value={from}
          choices={SOURCES}
          hint="Version 3.0 or 3.1, JSON or YAML, up to 4 MiB."
          onValue={(value) => change(() => setFrom(value as From))}
        />
        {from === "url" && (
          <TextField
            label="URL of the document"
            type="url"
            inputMode="url"
            placeholder="https://shop.example.com/openapi.json"
            hint="The server downloads it without credentials."
            value={url}
            onValue={(value) => change(() => setUrl(value))}
          />
        )}
        {from === "file" && <FileField onText={(value) => change(() => setText(value))} />}
        {from === "text" && (
          <TextArea label="Text of the document" class="mono" rows={8} spellcheck={false} value={text} onValue={(value) => change(() => setText(value))} />
        )}
        <div>
          <Button kind={listing ? "plain" : "primary"} busy={busy} disabled={isEmpty} onClick={read}>
            Read the document
          </Button>
        </div>
      </Enter>
      {error && <ErrorNote error={error} />}
      {listing && <ChooseOperations listing={listing} source={source} taken={taken} onAdd={onAdd} />}
    </div>
  );
}

async function inspect(source: Source, more: { allow?: string[]; base_url?: string } = {}): Promise<ApiListing> {
  const inspected = await api.post<InspectedTool>("/api/tools/inspect", { openapi: { ...source, ...more } });
  if (inspected.type !== "http") throw new Error("The server returned an unexpected response");
  return inspected;
}

function FileField({ onText }: { onText: (text: string) => void }) {
  return (
    <Field label="File">
      {(wiring) => (
        <input
          {...wiring}
          type="file"
          accept=".json,.yaml,.yml,application/json,application/yaml"
          onChange={(event) => void event.currentTarget.files?.[0]?.text().then(onText)}
        />
      )}
    </Field>
  );
}

interface ChooseOperationsProps extends ConnectProps {
  listing: ApiListing;
  source: Source;
}

function ChooseOperations({ listing, source, taken, onAdd }: ChooseOperationsProps) {
  const [name, setName] = useState(() => toolName(listing.title === "" ? "api" : listing.title, taken));
  const [baseUrl, setBaseUrl] = useState(listing.base_url ?? "");
  const [credential, setCredential] = useState<Credential>(() => ({ ...NO_CREDENTIAL, ...listing.credentials[0] }));
  const [chosen, setChosen] = useState<Chosen>({ allow: [], approval: [] });
  const [tried, setTried] = useState<{ operation: JsonObject; sample: JsonObject }>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const count = chosen.allow.length;
  const triedName = tried && String(tried.operation["name"]);

  async function withOperations(allow: string[], use: (imported: ApiListing, operations: JsonObject[], base: string) => void) {
    setBusy(true);
    setError(undefined);
    try {
      const given = baseUrl.trim();
      const changed = given !== "" && given !== (listing.base_url ?? "");
      const imported = await inspect(source, { allow, ...(changed && { base_url: given }) });
      use(imported, (imported.chosen ?? []) as unknown as JsonObject[], imported.base_url ?? given);
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }
  const add = () =>
    withOperations(chosen.allow, (_, operations, base) => onAdd(httpTool(name, base, credential, operations, chosen.approval)));
  const tryOne = (name: string) => withOperations([name], ({ samples }, [operation]) => setTried(operation && { operation, sample: (samples?.[name] ?? {}) as JsonObject }));
  return (
    <>
      <Note tone="good">Read “{listing.title === "" ? "untitled" : listing.title}”</Note>
      <TextField
        label="Base URL of the API"
        type="url"
        inputMode="url"
        value={baseUrl}
        onValue={setBaseUrl}
        hint={listing.base_url ? undefined : "The document has no absolute server URL."}
      />
      <CredentialFields value={credential} onValue={setCredential} />
      {listing.credentials.length > 0 && credential.secret === "" && (
        <Note tone="warn">
          This API may require authentication with the header {listing.credentials.map(({ header }) => header).join(" or ")}.
        </Note>
      )}
      <ChoiceList
        label="Operations"
        choices={choicesOfApi(listing)}
        leftOut={listing.left_out}
        isCut={listing.is_cut}
        chosen={chosen}
        onChosen={setChosen}
        tried={triedName}
        onTry={tryOne}
      />
      {tried && triedName !== undefined && (
        <TryCall
          key={`${triedName} ${baseUrl} ${credential.secret}`}
          callable={{
            label: triedName,
            operation: triedName,
            tool: httpTool(name, baseUrl, credential, [tried.operation], []),
            schema: tried.operation["parameters"],
            sample: tried.sample,
          }}
        />
      )}
      <TextField label="Name of the API, for you" class="mono" value={name} onValue={setName} />
      {error && <ErrorNote error={error} />}
      <div class="dialog-actions">
        <Button kind="primary" busy={busy} disabled={count === 0 || baseUrl.trim() === ""} onClick={add}>
          Add {count === 1 ? "1 operation" : `${count} operations`}
        </Button>
      </div>
    </>
  );
}
