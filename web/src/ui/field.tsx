import type { ComponentChildren, TextareaHTMLAttributes } from "preact";
import { useId } from "preact/hooks";
import { Icon } from "./icons.tsx";

interface FieldProps {
  label: string;
  /** How to fill it in. */
  hint?: ComponentChildren;
  /** What is wrong with the value. */
  error?: string | undefined;
  aside?: ComponentChildren;
  optional?: boolean;
}

interface Wiring {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

/** A label, a hint and an error, linked to one control. */
export function Field({
  label,
  hint,
  error,
  aside,
  optional,
  children,
}: FieldProps & { children: (wiring: Wiring) => ComponentChildren }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
  return (
    <div class={error ? "field wrong" : "field"}>
      <div class="field-label">
        <label for={id}>
          {label}
          {optional && <span class="optional"> optional</span>}
        </label>
        {aside}
      </div>
      {children({
        id,
        ...(described && { "aria-describedby": described }),
        ...(error && { "aria-invalid": true as const }),
      })}
      {error && (
        <p class="field-error" id={`${id}-error`}>
          <Icon name="warning" />
          <span>{error}</span>
        </p>
      )}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </div>
  );
}

interface InputProps extends FieldProps {
  value: string;
  onValue: (value: string) => void;
  type?: "text" | "password" | "url" | "search";
  name?: string;
  class?: string;
  placeholder?: string;
  inputMode?: "numeric" | "decimal" | "url";
  autoComplete?: string;
  readOnly?: boolean;
}

export function TextField({ label, hint, error, aside, optional, value, onValue, type = "text", ...input }: InputProps) {
  return (
    <Field label={label} hint={hint} error={error} aside={aside} optional={optional ?? false}>
      {(wiring) => (
        <input
          // Preact's types select the attributes of an input by the literal type.
          type={type as "text"}
          spellcheck={false}
          {...input}
          {...wiring}
          value={value}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

type AreaProps = FieldProps & Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "label" | "onInput" | "value"> & {
  value: string;
  onValue: (value: string) => void;
};

export function TextArea({ label, hint, error, aside, optional, value, onValue, ...area }: AreaProps) {
  return (
    <Field label={label} hint={hint} error={error} aside={aside} optional={optional ?? false}>
      {(wiring) => (
        <textarea {...area} {...wiring} value={value} onInput={(event) => onValue(event.currentTarget.value)} />
      )}
    </Field>
  );
}

export interface Choice {
  value: string;
  label: string;
}

interface SelectProps extends FieldProps {
  value: string;
  choices: Choice[];
  onValue: (value: string) => void;
  name?: string;
}

export function SelectField({ label, hint, error, aside, value, choices, onValue, name }: SelectProps) {
  return (
    <Field label={label} hint={hint} error={error} aside={aside}>
      {(wiring) => (
        <select {...wiring} name={name} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
          {choices.map((choice) => (
            <option key={choice.value} value={choice.value}>
              {choice.label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

interface SwitchProps {
  label: string;
  hint?: ComponentChildren;
  checked: boolean;
  onChecked: (checked: boolean) => void;
}

export function Switch({ label, hint, checked, onChecked }: SwitchProps) {
  const id = useId();
  return (
    <div class="switch-row">
      <button
        type="button"
        role="switch"
        class="switch"
        id={id}
        aria-checked={checked}
        aria-describedby={hint ? `${id}-hint` : undefined}
        aria-labelledby={`${id}-label`}
        onClick={() => onChecked(!checked)}
      >
        <span class="switch-knob" />
      </button>
      <div>
        <label id={`${id}-label`} for={id}>
          {label}
        </label>
        {hint && (
          <p class="hint" id={`${id}-hint`}>
            {hint}
          </p>
        )}
      </div>
    </div>
  );
}
