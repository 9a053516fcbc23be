import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useLocation } from "../router.ts";

export interface PageProps {
  title: string;
  /** The title of the browser tab, if it differs from `title`. */
  tab?: string;
  /** The parent page, shown above the title. */
  parent?: { href: string; label: string };
  /** Shown beside the title, such as a status. */
  badge?: ComponentChildren;
  lead?: ComponentChildren;
  /** Buttons at the end of the title row. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A page. Its heading gets the focus when the user navigates to it. */
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

/** A part of a page with its own heading. */
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
