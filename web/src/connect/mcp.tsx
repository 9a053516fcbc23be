import { useState } from "preact/hooks";
import { type ApiError, api, asApiError } from "../api.ts";
import type { InspectedTool, McpListing } from "../types.ts";
import { Button, ErrorNote, Note, TextField } from "../ui/index.ts";
import { ChoiceList, type Chosen } from "./choice-list.tsx";
import { CredentialFields } from "./credential.tsx";
import { type JsonObject, NO_CREDENTIAL, choicesOfMcp, headersOf, hostOf, mcpTool, toolName } from "./draft.ts";
import { Enter } from "./enter.tsx";
import { TryCall } from "./try-call.tsx";

export interface ConnectProps {
  /** Names of the agent's tools. */
  taken: string[];
  onAdd: (tool: JsonObject) => void;
}

/** Connects to an MCP server, and adds the chosen tools. */
export function ConnectMcp({ taken, onAdd }: ConnectProps) {
  const [url, setUrl] = useState("");
  const [credential, setCredential] = useState(NO_CREDENTIAL);
  const [listing, setListing] = useState<McpListing>();
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  async function connect() {
    if (busy || url.trim() === "") return;
    setBusy(true);
    setError(undefined);
    setListing(undefined);
    try {
      const mcp = { url: url.trim(), headers: headersOf(credential) };
      const inspected = await api.post<InspectedTool>("/api/tools/inspect", { mcp });
      if (inspected.type === "mcp") setListing(inspected);
    } catch (problem) {
      setError(asApiError(problem));
    }
    setBusy(false);
  }
  return (
    <div class="stack">
      <Enter onEnter={connect}>
        <TextField
          label="URL of the server"
          type="url"
          inputMode="url"
          placeholder="https://docs.example.com/mcp"
          hint="Its endpoint for streamable HTTP."
          value={url}
          onValue={setUrl}
        />
        <CredentialFields value={credential} onValue={setCredential} />
        <div>
          <Button kind={listing ? "plain" : "primary"} busy={busy} disabled={url.trim() === ""} onClick={connect}>
            {listing ? "Connect again" : "Connect"}
          </Button>
        </div>
      </Enter>
      {error && <ErrorNote error={error} />}
      {listing && (
        <ChooseMcp
          listing={listing}
          startName={toolName(hostOf(url.trim()), taken)}
          toTool={(name, chosen) => mcpTool(name, url, credential, chosen.allow, chosen.approval)}
          onAdd={onAdd}
        />
      )}
    </div>
  );
}

interface ChooseMcpProps {
  listing: McpListing;
  startName: string;
  toTool: (name: string, chosen: Chosen) => JsonObject;
  onAdd: (tool: JsonObject) => void;
}

function ChooseMcp({ listing, startName, toTool, onAdd }: ChooseMcpProps) {
  const [name, setName] = useState(startName);
  const [chosen, setChosen] = useState<Chosen>({ allow: [], approval: [] });
  const [tried, setTried] = useState<string>();
  const schema = listing.tools.find((tool) => tool.name === tried)?.input_schema;
  return (
    <>
      <Note tone="good">
        Connected to {listing.server_name} {listing.server_version}
      </Note>
      <ChoiceList
        label="Tools of the server"
        choices={choicesOfMcp(listing)}
        leftOut={listing.left_out}
        isCut={listing.is_cut}
        chosen={chosen}
        onChosen={setChosen}
        tried={tried}
        onTry={setTried}
      />
      {tried !== undefined && (
        <TryCall
          key={tried}
          callable={{
            label: tried,
            operation: tried,
            tool: toTool(name, { allow: [tried], approval: [] }),
            schema: schema as JsonObject | undefined,
          }}
        />
      )}
      <TextField label="Name of the server, for you" class="mono" value={name} onValue={setName} />
      <div class="dialog-actions">
        <Button kind="primary" disabled={chosen.allow.length === 0} onClick={() => onAdd(toTool(name, chosen))}>
          Add {chosen.allow.length === 1 ? "1 tool" : `${chosen.allow.length} tools`}
        </Button>
      </div>
    </>
  );
}
