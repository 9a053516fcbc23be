// The overview of a new deployment, which has no tasks yet.
import type { ComponentChildren, VNode } from "preact";

import type { Agent } from "../types.ts";
import { Copyable, Icon, LinkButton } from "../ui/index.ts";

export function FirstSteps({ agents }: { agents: Agent[] }): VNode {
  const agent = agents.find((agent) => agent.enabled) ?? agents[0];
  const page = agent && `/console/agents/${agent.agent_id}`;
  return (
    <section class="card first-steps" aria-label="First steps">
      <h2>First steps</h2>
      <p class="hint">Three steps from here to the first answer.</p>
      <ol>
        <Step done={agent !== undefined} title="Create an agent">
          {agent
            ? <p><a href={page}>{agent.name}</a> already exists. <a href="/console/agents/new">Create your own</a></p>
            : <><p>A name, a prompt, and a model or documents to answer from.</p><LinkButton kind="primary" icon="plus" href="/console/agents/new">New agent</LinkButton></>}
        </Step>
        <Step title="Copy its webhook URL">
          <p>Anyone with this URL can trigger the agent. Treat it like a password.</p>
          {agent && <Copyable text={agent.webhook_url} what="webhook URL" label="Webhook URL" />}
        </Step>
        <Step title="Try it">
          <p>Call the URL from anywhere, or from here. The task and its answer appear on this page.</p>
          {page && <LinkButton kind="primary" href={page}>Try {agent.name}</LinkButton>}
        </Step>
      </ol>
    </section>
  );
}

function Step({ title, done = false, children }: { title: string; done?: boolean; children: ComponentChildren }): VNode {
  return (
    <li class={done ? "done" : undefined}>
      <h3>{title}{done && <span class="step-done"><Icon name="check" /> done</span>}</h3>
      {children}
    </li>
  );
}
