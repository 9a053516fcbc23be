// Connects tools to an agent, in dialogs inside its form.
import { useState } from "preact/hooks";
import type { Json } from "../types.ts";
import { Dialog, SelectField, Tabs } from "../ui/index.ts";
import { type JsonObject, callables } from "./draft.ts";
import { ConnectMcp, type ConnectProps } from "./mcp.tsx";
import { ConnectApi } from "./openapi.tsx";
import { TryCall } from "./try-call.tsx";

export function AddToolDialog({ onClose, onAdd, ...props }: ConnectProps & { onClose: () => void }) {
  function add(tool: JsonObject) {
    onAdd(tool);
    onClose();
  }
  return (
    <Dialog title="Add a tool" wide onClose={onClose}>
      <Tabs
        label="Kind of tool"
        tabs={[
          { id: "mcp", label: "MCP server", content: () => <ConnectMcp {...props} onAdd={add} /> },
          { id: "http", label: "HTTP API (OpenAPI)", content: () => <ConnectApi {...props} onAdd={add} /> },
        ]}
      />
    </Dialog>
  );
}

/** Calls an operation of the tools in the form. */
export function TryToolDialog({ tools, onClose }: { tools: Json[]; onClose: () => void }) {
  const all = callables(tools);
  const [at, setAt] = useState("0");
  const callable = all[Number(at)];
  return (
    <Dialog title="Try a tool" wide onClose={onClose}>
      {callable === undefined ? (
        <p class="dim">There is nothing to call yet: add an HTTP API or an MCP server.</p>
      ) : (
        <>
          <SelectField
            label="Operation"
            value={at}
            choices={all.map(({ label }, place) => ({ value: String(place), label }))}
            onValue={setAt}
          />
          <TryCall key={at} callable={callable} />
        </>
      )}
    </Dialog>
  );
}
