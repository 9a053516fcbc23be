import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useLocation } from "../router.ts";

export interface PageProps {
  title: string;
  /** What the browser's tab says, if not the title. */
  tab?: string;
  /** Above the title: where this page belongs. */
  parent?: { href: string; label: string };
  /** Beside the title, such as a state. */
  badge?: ComponentChildren;
  lead?: ComponentChildren;
  /** At the title's end: what can be done here. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A page: its title is the tab's too, and has the focus when somebody comes here by a link. */
export function Page({ title, tab, parent, badge, lead, actions, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { path, navigated } = useLocation();
  useEffect(() => {
    document.title = `${tab ?? title} · Agent Webhooks`;
  }, [tab, title]);
  useEffect(() => {
    if (navigated) heading.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <>
      <header class="page-head">
        {parent && (
          <a class="crumb" href={parent.href}>
            {parent.label}
          </a>
        )}
        <div class="page-title">
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {badge}
          {actions && <div class="page-actions">{actions}</div>}
        </div>
        {lead && <p class="lead">{lead}</p>}
      </header>
      {children}
    </>
  );
}

export interface SectionProps {
  title: string;
  id?: string;
  /** A sentence under the title. */
  hint?: ComponentChildren;
  actions?: ComponentChildren;
  /** Without a frame around it. */
  plain?: boolean;
  children: ComponentChildren;
}

/** A part of a page under a heading of its own. */
export function Section({ title, id, hint, actions, plain, children }: SectionProps) {
  return (
    <section class={plain ? "section" : "section card"} id={id} aria-label={title}>
      <div class="section-head">
        <div class="section-title">
          <h2>{title}</h2>
          {hint && <p class="hint">{hint}</p>}
        </div>
        {actions && <div class="section-actions">{actions}</div>}
      </div>
      {children}
    </section>
  );
}
