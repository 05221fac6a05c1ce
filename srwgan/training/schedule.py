"""How long a run trains, and which networks it trains when."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The epochs of a run and its three phases, which follow each other in this order:

    ```
    phase    how long                   generator                         discriminator
    warmup   `warmup_epochs` epochs     on the reconstruction loss alone  not trained
    critic   `critic_warmup` batches    not trained                       trained
    full     what is left of `epochs`   on all losses                     trained
    ```
    """

    epochs: int = 2
    warmup_epochs: int = 0
    critic_warmup: int = 0

    def phase(self, batch: int, batches_per_epoch: int) -> str:
        """The phase of a batch, which is counted over the whole run from 0."""
        after_warmup = batch - self.warmup_epochs * batches_per_epoch
        if after_warmup < 0:
            return "warmup"
        return "critic" if after_warmup < self.critic_warmup else "full"
