import type { Json } from "../types.ts";
import { Button, Section, TextArea, toast } from "../ui/index.ts";
import { pretty } from "./form.ts";
import type { Editor } from "./save.ts";
import { SecretKeeper } from "./secrets.tsx";

const EXAMPLES: { label: string; tool: Json }[] = [
  { label: "Search of its sources", tool: { type: "search_sources" } },
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
    if (tools === undefined) return toast("What is written there is not a JSON array yet: mend it first", "bad");
    set({ tools });
  }
  return (
    <Section
      title="Tools"
      hint="What the model may call: operations of an HTTP API, an MCP server, a search of its sources. Without a model none is called."
      actions={<SecretKeeper />}
    >
      <div class="stack">
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
          Each operation of an <code>http</code> tool is one function for the model; <code>parameters</code> is the JSON schema of its
          arguments. <code>{"{id}"}</code> in the path is replaced by the argument; others go into the query, or into a JSON body.
        </li>
        <li>
          Credentials are not written here: keep them under Secrets and write <code>{'{ "secret": "shop-token", "prefix": "Bearer " }'}</code>{" "}
          as the header’s value. The model never sees them.
        </li>
        <li>
          <code>"approval": true</code> on an operation says that a person must decide: a webhook never calls it.
        </li>
        <li>
          From an OpenAPI document, operations are taken by the command:{" "}
          <code>agent-webhooks agent tool add NAME --openapi FILE --allow getOrder</code>.
        </li>
      </ul>
    </details>
  );
}

function withTool(text: string, tool: Json): string | undefined {
  try {
    const tools = JSON.parse(text.trim() === "" ? "[]" : text) as Json;
    return Array.isArray(tools) ? pretty([...tools, tool]) : undefined;
  } catch {
    return undefined;
  }
}
