export function boundNewObjects(): void;
