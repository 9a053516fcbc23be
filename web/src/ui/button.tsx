import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { Icon, type IconName } from "./icons.tsx";

type Kind = "primary" | "plain" | "quiet" | "danger";

export interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "icon" | "size"> {
  kind?: Kind;
  icon?: IconName;
  small?: boolean;
  /** Shows a spinner, and ignores clicks. */
  busy?: boolean;
  children?: ComponentChildren;
}

export function Button({ kind = "plain", icon, small, busy, children, onClick, ...rest }: ButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      class={className(kind, small)}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      onClick={busy ? (event) => event.preventDefault() : onClick}
    >
      {busy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

export interface LinkButtonProps {
  href: string;
  kind?: Kind;
  icon?: IconName;
  small?: boolean;
  children: ComponentChildren;
}

/** A link that looks like a button. */
export function LinkButton({ href, kind = "plain", icon, small, children }: LinkButtonProps) {
  return (
    <a href={href} class={className(kind, small)}>
      {icon && <Icon name={icon} />}
      {children}
    </a>
  );
}

function className(kind: Kind, small: boolean | undefined): string {
  return `button ${kind}${small ? " small" : ""}`;
}
