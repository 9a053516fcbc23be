import { useMemo, useState } from "preact/hooks";
import { isLoopback, type Snippet, snippetsFor } from "../../definition/snippets.ts";
import { useDocuments } from "../../documents.ts";
import { BASE } from "../../router.ts";
import type { Agent } from "../../types.ts";
import { Button, CodeBlock, CopyButton, Copyable, Note, Section, Tabs } from "../../ui/index.ts";
import type { PartProps } from "../agent.tsx";
import { TaskTable } from "../task-table.tsx";
import { TryIt } from "../try-it.tsx";
import { RotateDialog } from "./rotate.tsx";

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
      hint="Whoever has it can trigger this agent, and nothing else. Treat it like a password."
      actions={
        <Button small icon="rotate" onClick={() => setRotating(true)}>
          Rotate
        </Button>
      }
    >
      <div class="stack">
        {!agent.enabled && (
          <Note tone="warn">This agent is disabled: its webhook answers 404. Enable it under Definition.</Note>
        )}
        <DefaultModelNote agent={agent} />
        <Copyable text={agent.webhook_url} what="Webhook URL" label="Webhook URL" />
        <Snippets agent={agent} />
      </div>
      {rotating && <RotateDialog agent={agent} onChanged={onChanged} onClose={() => setRotating(false)} />}
    </Section>
  );
}

/** On a fresh deployment such an agent has nothing to answer with, and every task fails. */
function DefaultModelNote({ agent }: { agent: Agent }) {
  const bare = !agent.model && agent.sources.length === 0;
  const documents = useDocuments(bare ? agent.agent_id : null);
  if (documents.data?.sources.length !== 0) return null;
  const page = `${BASE}/agents/${agent.agent_id}`;
  return (
    <Note>
      <p>
        This agent uses this deployment’s default model, which on a fresh one answers from documents and texts only. It has
        neither.
      </p>
      <p class="note-links">
        <a href={`${page}/definition`}>Give it a model</a>
        <a href={`${page}/sources`}>Add a document</a>
      </p>
    </Note>
  );
}

function Snippets({ agent }: { agent: Agent }) {
  const snippets = useMemo(() => snippetsFor(agent.webhook_url, agent.prompt), [agent.webhook_url, agent.prompt]);
  const isLocal = isLoopback(agent.webhook_url);
  const tabs = snippets.map((snippet) => ({
    id: snippet.id,
    label: snippet.label,
    content: () => <SnippetView key={snippet.id} snippet={snippet} unreached={isLocal && snippet.fromAfar === true} />,
  }));
  return <Tabs label="Ways to call it" tabs={tabs} />;
}

function SnippetView({ snippet, unreached }: { snippet: Snippet; unreached: boolean }) {
  return (
    <div class="snippet">
      <p class="hint">{snippet.text}</p>
      {unreached && (
        <Note tone="warn">
          Only this machine reaches this address; start the server with <code>--public-url</code>.
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
            <span class={isTyped(value) ? "mono" : undefined}>{value}</span>
            {isTyped(value) && <CopyButton text={value} what={name} />}
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** What is pasted, rather than chosen or read. */
function isTyped(value: string): boolean {
  return value.startsWith("http") || value.startsWith("{");
}
