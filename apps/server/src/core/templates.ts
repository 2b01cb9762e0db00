/** What the placeholders of an agent's texts stand for. */
export interface TemplateValues {
  /** Of the turn's start, in the configured time zone. */
  date: string;
  time: string;
  agentName: string;
  agentHome: string;
}

/**
 * Fills `{{date}}`, `{{time}}`, `{{agent.name}}` and `{{agent.home}}`, written exactly so. All
 * else stays as it is, and what was put in is not looked at again.
 */
export function fillTemplate(text: string, values: TemplateValues): string {
  return text.replace(/\{\{(date|time|agent\.name|agent\.home)\}\}/g, (_, name: string) => {
    switch (name) {
      case 'date':
        return values.date;
      case 'time':
        return values.time;
      case 'agent.name':
        return values.agentName;
      default:
        return values.agentHome;
    }
  });
}

/** Whether a text changes with every minute, so that a provider's prompt cache never hits. */
export function usesTime(text: string): boolean {
  return text.includes('{{time}}');
}
