import { api } from "../api.ts";
import { useLoad } from "../load.ts";
import { BASE, useQuery } from "../router.ts";
import type { Agent, AgentsResponse } from "../types.ts";
import {
  Badge,
  Button,
  type Column,
  EmptyState,
  ErrorState,
  Icon,
  LinkButton,
  Page,
  Table,
  TableSkeleton,
  Time,
} from "../ui/index.ts";

export function AgentsPage() {
  const agents = useLoad("agents", (signal) => api.get<AgentsResponse>("/api/agents", signal));
  return (
    <Page
      title="Agents"
      lead="Each agent has its own webhook URL. A call to the URL creates a task."
      actions={
        <LinkButton kind="primary" icon="plus" href={`${BASE}/agents/new`}>
          New agent
        </LinkButton>
      }
    >
      {agents.data ? (
        <AgentList agents={agents.data.agents} />
      ) : agents.error ? (
        <ErrorState error={agents.error} retry={agents.reload} title="The agents could not be loaded" />
      ) : (
        <div class="card">
          <TableSkeleton rows={4} />
        </div>
      )}
    </Page>
  );
}

function AgentList({ agents }: { agents: Agent[] }) {
  const [query, setQuery] = useQuery("q");
  if (agents.length === 0) return <NoAgents />;
  const matches = agents.filter((agent) => matchesQuery(agent, query)).sort((a, b) => a.name.localeCompare(b.name));
  return (
    <>
      <div class="search">
        <Icon name="search" />
        <input
          type="search"
          aria-label="Search agents"
          placeholder="Search by name, model or id"
          value={query}
          onInput={(event) => setQuery(event.currentTarget.value)}
        />
      </div>
      <p class="list-count" role="status">
        {query.trim() === "" ? count(agents.length) : `${matches.length} of ${count(agents.length)}`}
      </p>
      {matches.length > 0 ? (
        <div class="card table-card">
          <Table caption="Agents" columns={COLUMNS} rows={matches} rowKey={(agent) => agent.agent_id} />
        </div>
      ) : (
        <EmptyState
          icon="search"
          title="No agents match"
          actions={<Button onClick={() => setQuery("")}>Show all</Button>}
        >
          No agent has “{query.trim()}” in its name, model or id.
        </EmptyState>
      )}
    </>
  );
}

const COLUMNS: Column<Agent>[] = [
  {
    id: "name",
    label: "Name",
    cell: (agent) => (
      <a class="row-link" href={`${BASE}/agents/${agent.agent_id}`}>
        {agent.name}
      </a>
    ),
  },
  { id: "state", label: "State", cell: (agent) => <EnabledBadge enabled={agent.enabled} /> },
  { id: "model", label: "Model", cell: (agent) => <ModelName agent={agent} /> },
  { id: "has", label: "Tools and texts", cell: (agent) => <span class="dim">{belongings(agent)}</span> },
  {
    id: "updated",
    label: "Updated",
    numeric: true,
    cell: (agent) => (
      <span class="dim">
        <Time at={agent.updated_at} />
      </span>
    ),
  },
];

export function EnabledBadge({ enabled }: { enabled: boolean }) {
  return enabled ? <Badge tone="good">Enabled</Badge> : <Badge>Disabled</Badge>;
}

function ModelName({ agent: { model } }: { agent: Agent }) {
  if (!model) return <span class="dim">Deployment’s default</span>;
  if (model.provider === "extractive") return <span class="dim">None, quotes its sources</span>;
  return <span class="mono">{model.name}</span>;
}

function belongings({ tools, sources }: Agent): string {
  const parts = [count(tools.length, "tool"), count(sources.length, "text")].filter((part) => !part.startsWith("0 "));
  return parts.length > 0 ? parts.join(", ") : "—";
}

function NoAgents() {
  return (
    <EmptyState
      icon="agents"
      title="No agents yet"
      actions={
        <LinkButton kind="primary" icon="plus" href={`${BASE}/agents/new`}>
          New agent
        </LinkButton>
      }
    >
      Create one with a name, a prompt, and a model or documents to answer from. It gets a webhook URL that you can paste into
      GitHub, Zapier, a form or a script.
    </EmptyState>
  );
}

function matchesQuery(agent: Agent, query: string): boolean {
  const text = [agent.name, agent.agent_id, agent.model?.name ?? "", agent.model?.provider ?? ""].join("\n");
  return text.toLowerCase().includes(query.trim().toLowerCase());
}

function count(n: number, what = "agent"): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
