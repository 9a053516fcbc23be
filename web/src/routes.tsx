// The pages of the console and their paths.
import type { ComponentChildren } from "preact";
import { lazy } from "./lazy.tsx";
import { AgentsPage } from "./pages/agents.tsx";
import { NotFoundPage } from "./pages/not-found.tsx";
import { OverviewPage } from "./pages/overview.tsx";
import { TaskPage } from "./pages/task.tsx";
import { TasksPage } from "./pages/tasks.tsx";
import { match } from "./router.ts";

const AgentPage = lazy(() => import("./pages/agent.tsx").then((file) => file.AgentPage));
const AuditPage = lazy(() => import("./pages/audit.tsx").then((file) => file.AuditPage));
const NewAgentPage = lazy(() => import("./pages/new-agent.tsx").then((file) => file.NewAgentPage));

type Params = Record<string, string>;

const ROUTES: [pattern: string, page: (params: Params) => ComponentChildren][] = [
  ["/", () => <OverviewPage />],
  ["/agents", () => <AgentsPage />],
  ["/agents/new", () => <NewAgentPage />],
  ["/agents/:id", ({ id = "" }) => <AgentPage key={id} id={id} part="overview" />],
  ["/agents/:id/:part", ({ id = "", part = "" }) => <AgentPage key={id} id={id} part={part} />],
  ["/tasks", () => <TasksPage />],
  ["/audit", () => <AuditPage />],
  ["/tasks/:id", ({ id = "" }) => <TaskPage key={id} id={id} />],
];

/** The page at a path below `/console`. */
export function pageAt(path: string): ComponentChildren {
  for (const [pattern, page] of ROUTES) {
    const params = match(pattern, path);
    if (params) return page(params);
  }
  return <NotFoundPage />;
}
