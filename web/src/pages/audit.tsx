// The audit log: who changed what, and what was refused, newest first.
import type { VNode } from "preact";

import { api } from "../api.ts";
import { changeText, detailText, EVENT_NAMES, isRefusal, whoText } from "../audit-words.ts";
import { useLoad } from "../load.ts";
import { useLocation } from "../router.ts";
import type { AuditEntry, AuditPage as Entries } from "../types.ts";
import { Button, type Column, EmptyState, ErrorNote, ErrorState, LinkButton, Page, Table, TableSkeleton, Time } from "../ui/index.ts";

export function AuditPage(): VNode {
  const cursor = useLocation().query.get("cursor") ?? "";
  const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
  const page = useLoad(`audit ${cursor}`, (signal) => api.get<Entries>(`/api/audit${query}`, signal));
  return (
    <Page title="Audit log" actions={<Button icon="rotate" onClick={page.reload}>Refresh</Button>}>
      <div class="card audit-log">
        {page.error && page.data && <ErrorNote error={page.error} />}
        {page.error && !page.data && <ErrorState error={page.error} retry={page.reload} />}
        {!page.error && !page.data && <TableSkeleton rows={10} />}
        {page.data && <Shown page={page.data} cursor={cursor} />}
      </div>
    </Page>
  );
}

function Shown({ page, cursor }: { page: Entries; cursor: string }): VNode {
  if (page.entries.length === 0) {
    return (
      <EmptyState icon="audit" title={cursor ? "No older entries" : "No entries yet"}>
        Changes, sign-ins and refused attempts appear here and are stored for 90 days.
      </EmptyState>
    );
  }
  return (
    <>
      <Table caption="Audit log, newest first" columns={COLUMNS} rows={page.entries} rowKey={(entry) => entry.id} />
      {(cursor || page.next_cursor !== null) && (
        <nav class="page-steps" aria-label="Pages of the audit log">
          {cursor && <LinkButton href="/console/audit" small>Newest</LinkButton>}
          {page.next_cursor !== null && <LinkButton href={`/console/audit?cursor=${encodeURIComponent(page.next_cursor)}`} small>Older</LinkButton>}
        </nav>
      )}
    </>
  );
}

const COLUMNS: Column<AuditEntry>[] = [
  { id: "event", label: "Event", cell: (entry) => <Event entry={entry} /> },
  { id: "at", label: "Time", cell: (entry) => <Time at={entry.at} absolute /> },
  { id: "who", label: "By", cell: (entry) => whoText(entry) },
  { id: "address", label: "Address", cell: (entry) => entry.address ?? "–" },
  { id: "about", label: "About", cell: (entry) => <About entry={entry} /> },
];

function Event({ entry }: { entry: AuditEntry }): VNode {
  const name = EVENT_NAMES[entry.event] ?? entry.event;
  return <span class={isRefusal(entry) ? "row-error" : undefined}>{name}</span>;
}

function About({ entry }: { entry: AuditEntry }): VNode {
  const detail = detailText(entry);
  return (
    <span class="audit-about">
      {entry.agent_id && <AgentName entry={entry} />}
      {detail && <span>{detail}</span>}
      {(entry.changes ?? []).map((change) => <span key={change.field}>{changeText(change)}</span>)}
      {!entry.agent_id && !detail && "–"}
    </span>
  );
}

/** A deleted agent has no page to go to. */
function AgentName({ entry }: { entry: AuditEntry }): VNode {
  const name = entry.agent_name ?? entry.agent_id;
  if (entry.event === "agent_deleted") return <span>{name}</span>;
  return <a href={`/console/agents/${entry.agent_id}`}>{name}</a>;
}
