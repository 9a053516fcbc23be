import { useState } from "preact/hooks";
import { AddToolDialog, TryToolDialog } from "../connect/index.tsx";
import type { Json } from "../types.ts";
import { Button, Section, TextArea, toast } from "../ui/index.ts";
import { pretty } from "./form.ts";
import type { Editor } from "./save.ts";
import { SecretsButton } from "./secrets.tsx";

const EXAMPLES: { label: string; tool: Json }[] = [
  { label: "Source search", tool: { type: "search_sources" } },
  {
    label: "HTTP API",
    tool: {
      type: "http",
      name: "shop",
      base_url: "https://shop.example.com/v1",
      headers: { Authorization: { secret: "shop-token", prefix: "Bearer " } },
      operations: [
        {
          name: "get_order",
          description: "An order by its number.",
          method: "GET",
          path: "/orders/{id}",
          parameters: { type: "object", properties: { id: { type: "string" } }, required: ["id"] },
        },
      ],
    },
  },
  {
    label: "MCP server",
    tool: {
      type: "mcp",
      name: "docs",
      url: "https://docs.example.com/mcp",
      headers: { Authorization: { secret: "docs-token", prefix: "Bearer " } },
      allow: ["search"],
    },
  },
];

export function ToolFields({ editor: { form, set, errors } }: { editor: Editor }) {
  function insert(tool: Json) {
    const tools = withTool(form.tools, tool);
    if (tools === undefined) return refuse();
    set({ tools });
  }
  const [open, setOpen] = useState<"add" | "try">();
  const tools = parseTools(form.tools);
  const names = (tools ?? []).map((tool) => (tool as { name?: string } | null)?.name ?? "");
  return (
    <Section
      title="Tools"
      hint="What the model can call: operations of an HTTP API, tools of an MCP server, a search of the agent's sources. Tools need a model."
      actions={<SecretsButton />}
    >
      <div class="stack">
        <div class="inserts">
          <Button icon="plus" onClick={() => (tools ? setOpen("add") : refuse())}>
            Add a tool…
          </Button>
          <Button disabled={!tools || tools.length === 0} onClick={() => setOpen("try")}>
            Try a tool…
          </Button>
        </div>
        {open === "add" && <AddToolDialog taken={names} onAdd={insert} onClose={() => setOpen(undefined)} />}
        {open === "try" && <TryToolDialog tools={tools ?? []} onClose={() => setOpen(undefined)} />}
        <div class="inserts" role="group" aria-label="Insert an example">
          <span class="hint">Insert an example:</span>
          {EXAMPLES.map(({ label, tool }) => (
            <Button key={label} small icon="plus" onClick={() => insert(tool)}>
              {label}
            </Button>
          ))}
        </div>
        <TextArea
          label="Tools, as JSON"
          class="mono"
          name="tools"
          rows={Math.min(28, Math.max(5, form.tools.split("\n").length + 1))}
          spellcheck={false}
          value={form.tools}
          error={errors["tools"]}
          onValue={(tools) => set({ tools })}
        />
        <HowTo />
      </div>
    </Section>
  );
}

function HowTo() {
  return (
    <details class="how-to">
      <summary>How tools are written</summary>
      <ul>
        <li>
          Each operation of an <code>http</code> tool is one function for the model. <code>parameters</code> is the JSON schema of its
          arguments. <code>{"{id}"}</code> in the path is replaced by the argument. Other arguments are sent in the query or in a JSON
          body.
        </li>
        <li>
          Do not write credentials here. Save them under Secrets and use <code>{'{ "secret": "shop-token", "prefix": "Bearer " }'}</code>{" "}
          as the header’s value. The model never sees them.
        </li>
        <li>
          An operation with <code>"approval": true</code> needs the approval of a person, so a webhook never calls it.
        </li>
        <li>
          “Add a tool” imports operations from an OpenAPI document. So does{" "}
          <code>agent-webhooks agent tool add NAME --openapi FILE --allow getOrder</code>.
        </li>
      </ul>
    </details>
  );
}

function refuse() {
  toast("The tools are not a valid JSON array. Fix them first", "bad");
}

function withTool(text: string, tool: Json): string | undefined {
  const tools = parseTools(text);
  return tools && pretty([...tools, tool]);
}

/** `undefined` if the text is not a JSON array. */
function parseTools(text: string): Json[] | undefined {
  try {
    const tools = JSON.parse(text.trim() === "" ? "[]" : text) as Json;
    return Array.isArray(tools) ? tools : undefined;
  } catch {
    return undefined;
  }
}
