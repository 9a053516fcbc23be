import type { ComponentChildren } from "preact";
import { api } from "../api.ts";
import { type Loaded, useLoad } from "../load.ts";
import { BASE } from "../router.ts";
import type { Agent } from "../types.ts";
import { EmptyState, ErrorState, LinkButton, Page, Section, Skeleton } from "../ui/index.ts";
import { DangerPart } from "./agent/danger.tsx";
import { DefinitionPart } from "./agent/definition.tsx";
import { OverviewPart } from "./agent/overview.tsx";
import type { PartProps } from "./agent/part.ts";
import { SourcesPart } from "./agent/sources.tsx";
import { EnabledBadge } from "./agents.tsx";
import { NotFoundPage } from "./not-found.tsx";

const PARTS: { id: string; label: string; show: (props: PartProps) => ComponentChildren }[] = [
  { id: "overview", label: "Overview", show: (props) => <OverviewPart {...props} /> },
  { id: "definition", label: "Definition", show: (props) => <DefinitionPart {...props} /> },
  { id: "sources", label: "Sources", show: (props) => <SourcesPart {...props} /> },
  { id: "danger", label: "Danger zone", show: (props) => <DangerPart {...props} /> },
];

export function AgentPage({ id, part }: { id: string; part: string }) {
  const agent = useLoad(id, (signal) => api.get<Agent>(`/api/agents/${encodeURIComponent(id)}`, signal));
  const shown = PARTS.find((candidate) => candidate.id === part);
  if (!shown) return <NotFoundPage />;
  const name = agent.data?.name;
  return (
    <Page
      title={name ?? "Agent"}
      tab={part === "overview" ? (name ?? "Agent") : `${name ?? "Agent"}: ${shown.label}`}
      parent={{ href: `${BASE}/agents`, label: "Agents" }}
      badge={agent.data && <EnabledBadge enabled={agent.data.enabled} />}
    >
      {agent.error && !agent.data ? (
        <Failed agent={agent} />
      ) : (
        <>
          <PartNav id={id} part={part} />
          {agent.data ? shown.show({ agent: agent.data, onChanged: agent.replace }) : <Loading />}
        </>
      )}
    </Page>
  );
}

function PartNav({ id, part }: { id: string; part: string }) {
  return (
    <nav class="part-nav" aria-label="Parts of this agent">
      {PARTS.map(({ id: name, label }) => (
        <a
          key={name}
          href={`${BASE}/agents/${id}${name === "overview" ? "" : `/${name}`}`}
          aria-current={name === part ? "page" : undefined}
        >
          {label}
        </a>
      ))}
    </nav>
  );
}

function Failed({ agent }: { agent: Loaded<Agent> }) {
  if (agent.error?.status !== 404) {
    return agent.error ? <ErrorState error={agent.error} retry={agent.reload} title="The agent could not be loaded" /> : null;
  }
  return (
    <EmptyState
      icon="agents"
      title="Agent not found"
      actions={<LinkButton href={`${BASE}/agents`}>Go to all agents</LinkButton>}
    >
      The agent was deleted, or the link is wrong.
    </EmptyState>
  );
}

function Loading() {
  return (
    <Section title="Loading">
      <Skeleton lines={6} />
    </Section>
  );
}
