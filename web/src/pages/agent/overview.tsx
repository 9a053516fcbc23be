import { useMemo, useState } from "preact/hooks";
import { isLoopback, type Snippet, snippetsFor } from "../../definition/snippets.ts";
import { useDocuments } from "../../documents.ts";
import { BASE } from "../../router.ts";
import type { Agent } from "../../types.ts";
import { Button, CodeBlock, CopyButton, Copyable, Note, Section, Tabs } from "../../ui/index.ts";
import { TaskTable } from "../task-table.tsx";
import { TryIt } from "../try-it.tsx";
import { RotateDialog } from "./rotate.tsx";
import type { PartProps } from "./part.ts";

export function OverviewPart({ agent, onChanged }: PartProps) {
  return (
    <>
      <Webhook agent={agent} onChanged={onChanged} />
      <TryIt agent={agent} />
      <Section
        title="Recent tasks"
        actions={
          <a class="section-link" href={`${BASE}/tasks?agent_id=${agent.agent_id}`}>
            All tasks of this agent
          </a>
        }
      >
        <TaskTable agentId={agent.agent_id} />
      </Section>
    </>
  );
}

function Webhook({ agent, onChanged }: PartProps) {
  const [rotating, setRotating] = useState(false);
  return (
    <Section
      title="Webhook URL"
      hint="Anyone with this URL can trigger the agent, but cannot change it. Treat it like a password."
      actions={
        <Button small icon="rotate" onClick={() => setRotating(true)}>
          Rotate
        </Button>
      }
    >
      <div class="stack">
        {!agent.enabled && (
          <Note tone="warn">This agent is disabled: its webhook returns 404. Enable it under Definition.</Note>
        )}
        <DefaultModelNote agent={agent} />
        <RefusedNote agent={agent} />
        <Copyable text={agent.webhook_url} what="Webhook URL" label="Webhook URL" />
        <Snippets agent={agent} />
      </div>
      {rotating && <RotateDialog agent={agent} onChanged={onChanged} onClose={() => setRotating(false)} />}
    </Section>
  );
}

/** Every task of such an agent fails in a deployment without a default model. */
function DefaultModelNote({ agent }: { agent: Agent }) {
  const bare = !agent.model && agent.sources.length === 0;
  const documents = useDocuments(bare ? agent.agent_id : null);
  if (documents.data?.sources.length !== 0) return null;
  const page = `${BASE}/agents/${agent.agent_id}`;
  return (
    <Note>
      <p>
        This agent uses this deployment’s default model. In a new deployment, the default answers only from documents and texts.
        This agent has none.
      </p>
      <p class="note-links">
        <a href={`${page}/definition`}>Give it a model</a>
        <a href={`${page}/sources`}>Add a document</a>
      </p>
    </Note>
  );
}

const REFUSED_PARTS: Record<NonNullable<Agent["model_refuses"]>[number], string> = {
  max_tokens: "max_tokens",
  max_completion_tokens: "max_completion_tokens",
  schema: "an answer schema (it is requested in the prompt instead)",
  schema_with_tools: "an answer schema beside tools (it is requested in the prompt instead)",
  system_message: "a system message (the prompt stands before the payload instead)",
  tools: "tools",
  empty_content: "a message without text beside tool calls",
};

/** What the model's server refused in earlier runs. Requests leave it out. */
function RefusedNote({ agent }: { agent: Agent }) {
  const parts = agent.model_refuses ?? [];
  if (parts.length === 0) return null;
  return (
    <Note tone={parts.includes("tools") ? "warn" : "plain"}>
      The server of this agent’s model does not accept {parts.map((part) => REFUSED_PARTS[part]).join(", ")}.
    </Note>
  );
}

function Snippets({ agent }: { agent: Agent }) {
  const snippets = useMemo(() => snippetsFor(agent.webhook_url, agent.prompt), [agent.webhook_url, agent.prompt]);
  const isLocal = isLoopback(agent.webhook_url);
  const tabs = snippets.map((snippet) => ({
    id: snippet.id,
    label: snippet.label,
    content: () => <SnippetView key={snippet.id} snippet={snippet} isUnreachable={isLocal && snippet.needsPublicUrl === true} />,
  }));
  return <Tabs label="Ways to call it" tabs={tabs} />;
}

function SnippetView({ snippet, isUnreachable }: { snippet: Snippet; isUnreachable: boolean }) {
  return (
    <div class="snippet">
      <p class="hint">{snippet.text}</p>
      {isUnreachable && (
        <Note tone="warn">
          This URL works only on this machine. Start the server with <code>--public-url</code>.
        </Note>
      )}
      {snippet.settings ? <Settings pairs={snippet.settings} /> : <CodeBlock code={snippet.code} what={`${snippet.label} snippet`} label={snippet.label} />}
    </div>
  );
}

function Settings({ pairs }: { pairs: [string, string][] }) {
  return (
    <dl class="settings">
      {pairs.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <span class={isPasted(value) ? "mono" : undefined}>{value}</span>
            {isPasted(value) && <CopyButton text={value} what={name} />}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** Whether the value is pasted, so that it needs a copy button. */
function isPasted(value: string): boolean {
  return value.startsWith("http") || value.startsWith("{");
}
