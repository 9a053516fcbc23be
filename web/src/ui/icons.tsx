// Icons drawn for this console on a 16 × 16 grid, in the colour of the surrounding text.
import type { ComponentChildren } from "preact";

const drawings = {
  overview: <path d="M2.5 13.5v-4m3.7 4V4.2m3.6 9.3V7m3.7 6.5v-11" />,
  agents: (
    <>
      <rect x="2.5" y="5" width="11" height="8.5" rx="2.5" />
      <path d="M8 5V2.3M6 9v.6M10 9v.6" />
    </>
  ),
  tasks: <path d="M6.2 4h7.3M6.2 8h7.3M6.2 12h7.3M2.5 4h.6M2.5 8h.6M2.5 12h.6" />,
  audit: <path d="M8 2.3 13 4v3.8c0 3-2 5-5 6-3-1-5-3-5-6V4zM5.8 8l1.6 1.6 2.9-3" />,
  docs: <path d="M3.5 2.5h6l3 3v8h-9zM9.3 2.7v3h3M5.8 8.6h4.4M5.8 11h4.4" />,
  copy: (
    <>
      <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
      <path d="M10.5 5.3V3.5a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h1.8" />
    </>
  ),
  check: <path d="m3 8.5 3.2 3.2L13 4.8" />,
  plus: <path d="M8 3v10M3 8h10" />,
  search: <path d="M7.2 11.7a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9Zm3.3-1.2 3 3" />,
  menu: <path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11" />,
  close: <path d="m4 4 8 8M12 4l-8 8" />,
  external: <path d="M6.5 3.5h-3v9h9v-3M9 2.8h4.2V7M13 3 7.5 8.5" />,
  warning: <path d="M8 2.5 14 13H2zM8 6.5v3M8 11.3v.1" />,
  upload: <path d="M8 10.5v-8M4.8 5.5 8 2.3l3.2 3.2M2.5 10.5v2a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1v-2" />,
  trash: <path d="M2.8 4.5h10.4M6.3 4.3V2.5h3.4v1.8M4.2 4.7l.6 8.8h6.4l.6-8.8" />,
  chevron: <path d="m6 3.5 4.5 4.5L6 12.5" />,
  rotate: <path d="M13 6.5A5.3 5.3 0 0 0 3.4 5M3 9.5A5.3 5.3 0 0 0 12.6 11M3.2 2.2V5H6M12.8 13.8V11H10" />,
  exit: <path d="M6.5 2.5h-4v11h4M6.5 8h7M10.7 5.2 13.5 8l-2.8 2.8" />,
  inbox: <path d="M2.5 9h3l1 2h3l1-2h3M2.5 9l2-5.5h7l2 5.5v4h-11z" />,
} satisfies Record<string, ComponentChildren>;

export type IconName = keyof typeof drawings;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      {drawings[name]}
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect class="logo-ground" width="32" height="32" rx="8" />
      <path class="logo-line" d="M8 22.5 13.2 9.8h5.6L24 22.5" />
      <circle class="logo-dot" cx="16" cy="18.6" r="2.7" />
    </svg>
  );
}
