// Statistics of the deployment: outcomes over time, queue wait, run time, tokens, cost.
import type { ComponentChildren, VNode } from "preact";

import { api } from "../api.ts";
import { BarTable } from "../charts/bars.tsx";
import { OutcomeChart } from "../charts/outcomes.tsx";
import { formatCompact, formatCount, formatDollars, formatDuration, formatShare, plural } from "../format.ts";
import { useLoad } from "../load.ts";
import { navigate, useLocation } from "../router.ts";
import { useAgents } from "../task/agents.ts";
import { readTasks, tasksHref } from "../task/pages.ts";
import { usePolling } from "../task/polling.ts";
import { ViewSwitch } from "../task/switch.tsx";
import { errorWords } from "../task-words.ts";
import type { Agent, Percentiles, Stats } from "../types.ts";
import { EmptyState, ErrorNote, ErrorState, LinkButton, Note, Page, Section, SelectField, Skeleton, TableSkeleton, Time } from "../ui/index.ts";
import { FirstSteps } from "./first-steps.tsx";
import { TaskRows } from "./task-table.tsx";

/** By time range: a longer one takes longer to load and changes less. */
const REFRESH_MS: Record<Span, number> = { "24": 30_000, "168": 120_000, "336": 120_000 };
const SPANS = [["24", "24 hours"], ["168", "7 days"], ["336", "14 days"]] as const;
type Span = (typeof SPANS)[number][0];
const LONGEST: Span = "336";

interface Scope {
  hours: Span;
  agent_id: string;
}

export function OverviewPage(): VNode {
  const scope = useScope();
  const agents = useAgents();
  const stats = useStats(scope);
  const quiet = stats.data?.tasks === 0;
  const ever = useStats(quiet ? { hours: LONGEST, agent_id: "" } : null);
  usePolling(REFRESH_MS[scope.hours], stats.reload);
  const isNew = quiet && ever.data?.tasks === 0 && scope.agent_id === "" && agents !== undefined;
  return (
    <Page title="Overview">
      {isNew ? <FirstSteps agents={agents} /> : <Choices scope={scope} agents={agents} />}
      {stats.error && stats.data && <ErrorNote error={stats.error} />}
      {stats.error && !stats.data && <div class="card"><ErrorState error={stats.error} retry={stats.reload} /></div>}
      {!stats.data && !stats.error && <Waiting />}
      {stats.data && !quiet && <Figures stats={stats.data} scope={scope} agents={agents} />}
      {quiet && !isNew && ever.data && <Quiet scope={scope} />}
    </Page>
  );
}

function useScope(): Scope {
  const { query } = useLocation();
  const hours = SPANS.find(([span]) => span === query.get("hours"))?.[0] ?? "24";
  return { hours, agent_id: query.get("agent_id") ?? "" };
}

function useStats(scope: Scope | null) {
  const query = scope && new URLSearchParams({ hours: scope.hours, ...(scope.agent_id && { agent_id: scope.agent_id }) });
  return useLoad(query && `stats ${query}`, (signal) => api.get<Stats>(`/api/stats?${query}`, signal));
}

function overviewHref({ hours, agent_id }: Scope): string {
  const query = new URLSearchParams({ ...(hours !== "24" && { hours }), ...(agent_id && { agent_id }) }).toString();
  return query ? `/console/?${query}` : "/console/";
}

function Choices({ scope, agents }: { scope: Scope; agents: Agent[] | undefined }): VNode {
  const choose = (change: Partial<Scope>): void => void navigate(overviewHref({ ...scope, ...change }), { replace: true });
  const choices = [{ value: "", label: "All agents" }, ...(agents ?? []).map((agent) => ({ value: agent.agent_id, label: agent.name }))];
  return (
    <div class="filters">
      <SelectField label="Agent" value={scope.agent_id} choices={choices} onValue={(agent_id) => choose({ agent_id })} />
      <ViewSwitch label="Time" views={SPANS} view={scope.hours} onView={(hours) => choose({ hours })} />
    </div>
  );
}

function Waiting(): VNode {
  return <><div class="card tiles-waiting"><Skeleton lines={3} /></div><div class="card chart-waiting"><Skeleton lines={5} /></div></>;
}

function Quiet({ scope }: { scope: Scope }): VNode {
  const more = scope.hours !== LONGEST && <LinkButton href={overviewHref({ ...scope, hours: LONGEST })}>Show 14 days</LinkButton>;
  return (
    <div class="card">
      <EmptyState icon="overview" title="No tasks in this period" actions={<>{more}<LinkButton href="/console/agents">Agents</LinkButton></>}>
        There are no stored tasks from the last {SPANS.find(([span]) => span === scope.hours)?.[1]}{scope.agent_id && " for this agent"}.
      </EmptyState>
    </div>
  );
}

function Figures({ stats, scope, agents }: { stats: Stats; scope: Scope; agents: Agent[] | undefined }): VNode {
  return (
    <>
      <Coverage stats={stats} scope={scope} />
      <Tiles stats={stats} scope={scope} />
      <Section title="Tasks over time" hint="By creation time, with their current status.">
        <OutcomeChart buckets={stats.buckets} bucketSeconds={stats.bucket_seconds} />
      </Section>
      <div class="two-up">
        <Spread title="Queue wait" hint="From the trigger to the first attempt." values={stats.wait_ms} />
        <Spread title="Run time" hint="From the first attempt to the end." values={stats.run_ms} />
      </div>
      {stats.by_status.FAILURE > 0 && <Failures stats={stats} scope={scope} agents={agents} />}
      {stats.models.length > 0 && <Models stats={stats} />}
    </>
  );
}

/** Which tasks the figures omit, if any. */
function Coverage({ stats, scope }: { stats: Stats; scope: Scope }): VNode | null {
  const wanted = Date.parse(stats.to) - Number(scope.hours) * 3_600_000;
  const cut = Date.parse(stats.from) - wanted > 2 * stats.bucket_seconds * 1000;
  const long = scope.hours !== "24";
  if (!stats.sampled && !cut && !long) return null;
  return (
    <Note>
      {long && <>Only stored tasks are counted. A task is stored for one day after its end, unless this deployment is configured to store it longer. </>}
      {stats.sampled && <>These figures are estimated from a sample of {plural(stats.examined, "task")}. </>}
      {cut && <>There were more tasks than can be read at once. The figures begin <Time at={stats.from} absolute />.</>}
    </Note>
  );
}

function Tiles({ stats, scope }: { stats: Stats; scope: Scope }): VNode {
  const { SUCCESS, FAILURE, STARTED, PENDING } = stats.by_status;
  const about = stats.sampled ? "≈ " : "";
  const failures = tasksHref({ agent_id: scope.agent_id, status: "FAILURE" });
  return (
    <dl class="tiles">
      <Tile name="Tasks" value={about + formatCompact(stats.tasks)} note={`${about}${formatCount(SUCCESS + FAILURE)} ended`} />
      <Tile name="Succeeded" value={formatShare(SUCCESS, SUCCESS + FAILURE)} note={`${about}${formatCount(SUCCESS)} of the ended tasks`} />
      <Tile name="Failed" value={about + formatCompact(FAILURE)} tone={FAILURE > 0 ? "bad" : undefined} note={FAILURE > 0 ? <a href={failures}>Show them</a> : "None"} />
      <Tile name="In progress" value={about + formatCompact(STARTED + PENDING)} note={`${formatCount(STARTED)} running, ${formatCount(PENDING)} waiting`} />
      <Tile name="Queue wait" value={p50Text(stats.wait_ms)} note={p90Text(stats.wait_ms)} />
      <Tile name="Run time" value={p50Text(stats.run_ms)} note={p90Text(stats.run_ms)} />
      <Tile name="Tokens" value={about + formatCompact(stats.input_tokens + stats.output_tokens)} note={`${formatCompact(stats.input_tokens)} in, ${formatCompact(stats.output_tokens)} out`} />
      <Cost stats={stats} scope={scope} />
    </dl>
  );
}

function Tile({ name, value, note, tone }: { name: string; value: string; note: ComponentChildren; tone?: "bad" | undefined }): VNode {
  return (
    <div class={tone ? `tile ${tone}` : "tile"}>
      <dt>{name}</dt>
      <dd class="tile-value">{value}</dd>
      <dd class="tile-note">{note}</dd>
    </div>
  );
}

function p50Text(values: Percentiles | null): string {
  return values ? formatDuration(values.p50) : "–";
}

function p90Text(values: Percentiles | null): string {
  return values ? `p50; p90 ${formatDuration(values.p90)}` : "Nothing measured yet";
}

function Cost({ stats, scope }: { stats: Stats; scope: Scope }): VNode {
  const where = scope.agent_id ? `/console/agents/${scope.agent_id}` : "/console/agents";
  const how = <a href={where} title="In an agent's definition, beside its model">Set prices</a>;
  if (stats.cost_usd === null) {
    const needed = stats.input_tokens + stats.output_tokens > 0;
    return <Tile name="Estimated cost" value="–" note={needed ? <>No price set. {how}</> : "No model calls"} />;
  }
  const rest = stats.unpriced_tasks > 0 ? <>{plural(stats.unpriced_tasks, "task")} without a price. {how}</> : "At the configured prices";
  return <Tile name="Estimated cost" value={formatDollars(stats.cost_usd)} note={rest} />;
}

function Spread({ title, hint, values }: { title: string; hint: string; values: Percentiles | null }): VNode {
  const rows = values && [
    { label: "p50 (median)", value: values.p50, text: formatDuration(values.p50) },
    { label: "p90", value: values.p90, text: formatDuration(values.p90) },
    { label: "p99", value: values.p99, text: formatDuration(values.p99) },
    { label: "Maximum", value: values.max, text: formatDuration(values.max) },
  ];
  return (
    <Section title={title} hint={hint}>
      {rows ? <BarTable caption={title} rows={rows} tone="plain" /> : <p class="hint">Nothing measured yet.</p>}
    </Section>
  );
}

function Failures({ stats, scope, agents }: { stats: Stats; scope: Scope; agents: Agent[] | undefined }): VNode {
  const filter = { agent_id: scope.agent_id, status: "FAILURE", cursor: "", limit: 5 };
  const latest = useLoad(`failures ${scope.agent_id}`, (signal) => readTasks(filter, signal));
  const types = Object.entries(stats.errors).sort(([, one], [, other]) => other - one);
  const rows = types.map(([type, count]) => ({ label: <span title={type}>{errorWords(type).title}</span>, value: count, text: formatCount(count) }));
  const all = <LinkButton small href={tasksHref(filter)}>All failures</LinkButton>;
  return (
    <Section title="Failures" actions={all}>
      {rows.length > 0 && <BarTable caption="Failures by kind" rows={rows} tone="bad" />}
      {latest.error && <ErrorNote error={latest.error} />}
      {latest.loading && !latest.data && <TableSkeleton rows={Math.min(stats.by_status.FAILURE, filter.limit)} />}
      {latest.data && latest.data.tasks.length > 0 && (
        <TaskRows tasks={latest.data.tasks} caption="Latest failures" agents={scope.agent_id ? undefined : (agents ?? "unknown")} />
      )}
    </Section>
  );
}

function tokensOf(model: Stats["models"][number]): number {
  return model.input_tokens + model.output_tokens;
}

function Models({ stats }: { stats: Stats }): VNode {
  return (
    <Section title="Models">
      <div class="table-scroll" tabIndex={0} role="region" aria-label="Tokens and cost by model">
        <table class="table models">
          <thead>
            <tr><th scope="col">Model</th><th scope="col" class="numeric">Tasks</th><th scope="col" class="numeric">Tokens in</th><th scope="col" class="numeric">Tokens out</th><th scope="col" class="numeric">Cost</th></tr>
          </thead>
          <tbody>
            {stats.models.toSorted((one, other) => tokensOf(other) - tokensOf(one)).map((model) => (
              <tr key={model.model}>
                <td data-label="Model" class="mono">{model.model}</td>
                <td data-label="Tasks" class="numeric">{formatCount(model.tasks)}</td>
                <td data-label="Tokens in" class="numeric">{formatCount(model.input_tokens)}</td>
                <td data-label="Tokens out" class="numeric">{formatCount(model.output_tokens)}</td>
                <td data-label="Cost" class="numeric">{model.cost_usd === null ? "no price" : formatDollars(model.cost_usd)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {stats.cost_usd !== null && <p class="hint">Costs are estimates: tokens multiplied by the current prices in the agents' definitions.</p>}
    </Section>
  );
}
